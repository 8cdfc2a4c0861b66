"""kdjax from Python: what `kdjax.run`, `load_experiment`, `grid` and `steps` give, also in a notebook."""
