"""A paper's figure or table, made again: what was claimed, what was found, and a verdict."""
