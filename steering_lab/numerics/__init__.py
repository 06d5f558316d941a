"""Arithmetic that several rooms share: log-probabilities, divergences, resampling. No model, no table, no figure."""
