"""Smaller students: magnitude pruning as an optax transformation, and int8 in the forward pass while training.

Neither optax nor a package on the registry prunes: JaxPruner, which has what `prune` does and much more, is not
released there and is not developed further. Quantization is qwix's, array by array (`qwix.quantize`). Its whole-model
`qwix.quantize_model` is not used: it convolves in int8, for which XLA has no fast kernels on the CPU, patches functions
of JAX while it traces, and fails under strict dtype promotion.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax.types import leaf_name


class PruneState(NamedTuple):
    """What pruning remembers, part of the optimizer's state and so of every checkpoint."""

    count: jax.Array  # [] int32, steps taken
    masks: dict  # "student/conv/kernel" -> bool, the parameter's shape: False where it is pruned


def cubic_sparsity(step, sparsity: float, begin: int, end: int) -> jax.Array:
    """Fraction of zeros at a step: 0 before `begin`, sparsity (1 - (1 - progress)^3) on the way, `sparsity` at `end`.

    Zhu & Gupta 2017, arXiv:1710.01878, equation 1, from a dense network.
    """
    step = jnp.asarray(step, jnp.float32)
    progress = jnp.clip((step - begin) / max(end - begin, 1), 0.0, 1.0)
    progress = jnp.where(step >= end, 1.0, progress)
    return jnp.where(step < begin, 0.0, sparsity * (1 - (1 - progress) ** 3))


def prunable(path: str, shape: tuple[int, ...]) -> bool:
    """Kernels of the student, less the depthwise ones, which the paper leaves dense too: they hold few of the weights.

    A kernel ends in [inputs of a group, outputs]; biases and the parameters of normalisation have rank 1.
    """
    return path.startswith("student/") and path.endswith("/kernel") and len(shape) >= 2 and shape[-2] > 1


def prune(sparsity: float, begin: int, end: int, every: int) -> optax.GradientTransformation:
    """Sets the smallest weights of each kernel to zero, more of them every `every` steps; the last of a chain.

    What is zero stays zero, whatever the optimizer before it says. At step `end` and ever after, round(sparsity x size)
    weights of each kernel are zero.

    Args:
      sparsity: the final fraction of zeros, above 0 and below 1.
      begin, end: steps between which the fraction grows as `cubic_sparsity`.
      every: steps between two prunings.
    """

    def init(params):
        masks = {name: jnp.ones(leaf.shape, bool) for name, leaf in _named(params) if prunable(name, leaf.shape)}
        if not masks:
            raise ValueError("prune: the student has no kernel that could be pruned")
        return PruneState(jnp.zeros((), jnp.int32), masks)

    def update(updates, state, params):
        step = state.count
        due = (step >= begin) & (step <= end) & (((step - begin) % every == 0) | (step == end))
        fraction = cubic_sparsity(step, sparsity, begin, end)
        weights, changes = dict(_named(params)), dict(_named(updates))
        masks = {
            name: jax.lax.cond(due, _smallest, lambda mask, *_: mask, mask, weights[name] + changes[name], fraction)
            for name, mask in state.masks.items()
        }

        def masked(path, change, weight):
            mask = masks.get(leaf_name(path))
            return change if mask is None else jnp.where(mask, change, -weight)  # weight + -weight is exactly 0

        return jax.tree_util.tree_map_with_path(masked, updates, params), PruneState(step + 1, masks)

    return optax.GradientTransformation(init, update)


def _smallest(mask, weight, fraction):
    """The mask without the round(fraction x size) smallest weights, those that it already lacks first."""
    magnitude = jnp.where(mask, jnp.abs(weight), -1.0).ravel()
    rank = jnp.argsort(jnp.argsort(magnitude))
    return (rank >= jnp.round(fraction * weight.size).astype(rank.dtype)).reshape(mask.shape)


def _named(params):
    return [(leaf_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]


class Int8(nn.Module):
    """A model whose layers see int8: weights and inputs are rounded to 256 levels, sums are computed in float.

    For every nn.Conv, nn.Dense and nn.DenseGeneral: the kernel symmetrically, a scale for each index of its last axis
    (an output of the first two, a feature of each head of an attention's projections); the input with
    its own range for each example, so that no example depends on its neighbours. Gradients pass the rounding unchanged
    (straight-through; Jacob et al. 2018, arXiv:1712.05877). Variables are those of `model`, at the same paths.
    """

    model: nn.Module

    def setup(self):
        nn.share_scope(self, self.model)

    def __call__(self, image, train: bool = False):
        if self.is_initializing():  # the initial weights themselves, not rounded
            return self.model(image, train=train)

        def forward(module, image):
            with nn.intercept_methods(_int8_inputs):
                return module.model(image, train=train)

        return nn.map_variables(forward, "params", trans_in_fn=_int8_kernels)(self, image)


def unquantized(model: nn.Module) -> nn.Module:
    """The model itself of one that is trained for int8: same variables, no rounding."""
    return model.model if isinstance(model, Int8) else model


def _int8_inputs(next_fun, args, kwargs, context):
    if isinstance(context.module, nn.Conv | nn.Dense | nn.DenseGeneral) and context.method_name == "__call__":
        image, *rest = args
        args = (fake_int8(image, 0, "minmax"), *rest)
    return next_fun(*args, **kwargs)


def _int8_kernels(variables):
    def rounded(path, leaf):
        return fake_int8(leaf, leaf.ndim - 1, "absmax") if str(path[-1].key) == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(rounded, variables)


def fake_int8(x: jax.Array, axis: int, calibration: str) -> jax.Array:
    """`x` rounded to what int8 can hold, with a scale for each index of `axis`; the gradient is that of x.

    Args:
      calibration: "absmax" (symmetric) or "minmax" (with a zero point), of qwix.

    Raises:
      ValueError: qwix is not installed.
    """
    try:
        import qwix
    except ModuleNotFoundError as error:
        raise ValueError("quantize needs qwix: pip install 'kdjax[compress]'") from error
    levels = qwix.quantize(x, jnp.int8, channelwise_axes=(axis,), calibration_method=calibration)
    return x + jax.lax.stop_gradient(qwix.dequantize(levels) - x)
