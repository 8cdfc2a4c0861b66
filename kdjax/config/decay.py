"""Which kind of weight decay an optimizer has: words for a protocol, read without importing JAX."""

from collections.abc import Mapping

DECOUPLED = ("adamaxw", "adamw", "adan", "lamb", "lion", "novograd")
"""Optimizers of optax that take `weight_decay` and let it bypass what they make of gradients. Loshchilov and Hutter
2019, arXiv:1711.05101. adadelta and lars take one too, and add it to the gradient."""


def decay_kind(optimizer: Mapping) -> str:
    """ "L2" (weights are added to the gradient), "decoupled" (taken off the weights themselves) or "none".

    One's own optimizer decays weights as it likes where it takes `weight_decay`, and else by L2.

    Args:
      optimizer: fields of config.optimizer.
    """
    if (optimizer.get("kwargs") or {}).get("weight_decay_rate"):  # adafactor's, not even scaled by the learning rate
        return "decoupled"
    if not optimizer.get("weight_decay"):
        return "none"
    if "." in (optimizer.get("name") or ""):
        return "its own, or else L2"
    return "decoupled" if optimizer.get("name") in DECOUPLED else "L2"
