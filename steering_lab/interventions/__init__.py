"""What we do to the residual stream, as values, and the one place where it is done."""
