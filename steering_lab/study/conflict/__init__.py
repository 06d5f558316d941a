"""Context against memory: what experiments on conflicting questions share."""
