"""How steering vectors are computed: one module per paper or idea."""
