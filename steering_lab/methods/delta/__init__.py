"""Deltas found by gradient while the weights stay frozen: `optimise_delta`, and the parts that it is made of."""
