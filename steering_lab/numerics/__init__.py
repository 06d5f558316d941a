"""Arithmetic that several packages share: log-probabilities, divergences, resampling. No model, no table, no figure."""
