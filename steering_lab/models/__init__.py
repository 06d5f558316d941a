"""The model, seen through its residual stream; the only package here that imports transformer_lens."""
