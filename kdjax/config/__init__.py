"""The config of an experiment: its fields, the papers' recipes, and what is built from it."""

from kdjax.config.fields import (
    FREE,
    check_seeds,
    completed,
    default,
    differences,
    lookup,
    origin,
    parse_arg,
    plain,
    resolve,
    sgd_has_momentum,
)

__all__ = [
    "FREE",
    "check_seeds",
    "completed",
    "default",
    "differences",
    "lookup",
    "origin",
    "parse_arg",
    "plain",
    "resolve",
    "sgd_has_momentum",
]
