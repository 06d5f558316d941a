"""Conditions, and what runs them on a model: a table of generations."""
