"""Measures: texts, answers and next-token distributions into one observation per row."""
