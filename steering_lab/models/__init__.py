"""The model, seen through its residual stream; the only room that imports transformer_lens."""
