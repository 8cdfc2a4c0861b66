"""Compare knowledge-distillation methods in JAX."""
