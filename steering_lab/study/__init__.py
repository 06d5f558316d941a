"""How an experiment is composed: settings in pieces, vectors and measures by name, asking, keeping, the page."""
