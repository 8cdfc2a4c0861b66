"""What the networks share: layers with torch's padding and initial weights, and the head that ends most of them."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from kdjax.models.convolve import taps
from kdjax.types import Outputs

kaiming_fan_out = initializers.variance_scaling(2.0, "fan_out", "normal")
"""N(0, sqrt(2 / (kernel area x output channels))). He et al. 2015, arXiv:1502.01852."""

torch_default = initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(+-1 / sqrt(fan in)): what torch's Conv2d and Linear start from."""


def uniform(bound: float) -> Callable:
    """Initializer U(-bound, bound)."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makes the layers of one network: parameters and BatchNorm statistics in float32, arithmetic in `dtype`.

    Every layer is named as in the torch network whose weights it can take (kdjax/models/pytorch.py).
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None  # the pmap axis over which BatchNorm averages
    train: bool = False
    conv_init: Callable = kaiming_fan_out
    unbiased_variance: bool = False  # as in BatchNorm, like the next two
    momentum: float = 0.1
    epsilon: float = 1e-5

    def conv(self, x, features: int, kernel: int, name: str, *, stride=1, groups=1, padding=None, bias=False):
        """Square convolution of [B, H, W, C] that pads kernel // 2 on every side, as torch does, or "SAME".

        With "SAME", as TensorFlow does, ceil(size / stride) positions come out, and where the zeros that this takes are
        odd in number, the bottom and the right get one more: a 3x3 kernel at stride 2 has none above an even image.
        """
        padding = kernel // 2 if padding is None else padding
        size = (kernel, kernel)
        layer = nn.Conv(
            features, size, stride, padding, feature_group_count=groups, use_bias=bias, **self._fields(name)
        )
        return layer(x)

    def norm(self, x, name: str):
        """BatchNorm in float32, with torch's constants unless told otherwise."""
        fields = self.unbiased_variance, self.momentum, self.epsilon
        layer = BatchNorm(not self.train, self.axis_name, *fields, name=name)
        return layer(x.astype(jnp.float32)).astype(self.dtype)

    def conv_norm(self, x, features: int, kernel: int, names: Sequence[str], **options):
        """A convolution, then BatchNorm; `names` are theirs."""
        return self.norm(self.conv(x, features, kernel, names[0], **options), names[1])

    def linear(self, x, features: int, name: str, kernel_init=torch_default, bias_init=None):
        """Dense layer; the bias starts from U(+-1 / sqrt(fan in)) unless told otherwise."""
        bias_init = bias_init or uniform(x.shape[-1] ** -0.5)
        return nn.Dense(features, dtype=self.dtype, kernel_init=kernel_init, bias_init=bias_init, name=name)(x)

    def outputs(self, embedding, classes: int, features: Sequence, preacts: Sequence, **inits) -> Outputs:
        """Outputs with the logits, in float32, of a linear layer `classifier` on embedding [B, D]; 0 classes: none."""
        none = jnp.zeros((embedding.shape[0], 0))
        logits = self.linear(embedding, classes, "classifier", **inits) if classes else none
        logits = logits.astype(jnp.float32)
        return Outputs(logits, tuple(features), tuple(preacts), embedding)

    def _fields(self, name):
        return dict(dtype=self.dtype, kernel_init=self.conv_init, name=name)


class BatchNorm(nn.Module):
    """`flax.linen.BatchNorm` with torch's momentum and epsilon, in value, gradient and variables, as scale and shift.

    x * a + b, and not (x - mean) * a + bias as in Flax: that keeps x - mean for the gradient beside x itself, which
    costs 4 % of a small network's time on a CPU. torch computes it so, too.

    In training mode both normalise by the biased variance of the batch. What is kept for evaluation differs: Flax keeps
    this one, torch the unbiased one, n / (n - 1) of it with n values a channel (examples x positions): 1.6 % more at
    n = 64, a last stage of one position with batches of 64; 0.02 % at n = 4096.
    """

    use_running_average: bool
    axis_name: str | None = None
    unbiased_variance: bool = False  # what is kept for evaluation: False as Flax, True as torch
    momentum: float = 0.1  # the share of a batch in what is kept: torch's word; Flax calls 0.9 so
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x):
        """[B, H, W, C] float32 -> the same, normalised over all but C."""
        channels = x.shape[-1:]
        scale = self.param("scale", initializers.ones, channels)
        bias = self.param("bias", initializers.zeros, channels)
        running = [
            self.variable("batch_stats", "mean", jnp.zeros, channels),
            self.variable("batch_stats", "var", jnp.ones, channels),
        ]
        mean, var = (statistic.value for statistic in running)
        if not self.use_running_average:
            moments = jnp.stack([jnp.mean(x, axis=(0, 1, 2)), jnp.mean(jnp.square(x), axis=(0, 1, 2))])
            if self.axis_name and not self.is_initializing():
                moments = jax.lax.pmean(moments, self.axis_name)
            mean, var = moments[0], jnp.maximum(0.0, moments[1] - jnp.square(moments[0]))
            if not self.is_initializing():
                for statistic, now in zip(running, (mean, self._kept(var, x)), strict=True):
                    statistic.value = (1 - self.momentum) * statistic.value + self.momentum * now
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        shift = bias - mean * factor
        return x * factor[None, None, None] + shift[None, None, None]

    def _kept(self, var, x):
        """The variance [C] to keep of the batch x, whose biased one is `var`."""
        if not self.unbiased_variance:
            return var
        devices = jax.lax.psum(1, self.axis_name) if self.axis_name else 1
        n = x.size // x.shape[-1] * devices
        return var * (n / max(n - 1, 1))


def layer_norm(x, name: str):
    """LayerNorm of x [..., C] over C, in float32 with epsilon 1e-6."""
    return nn.LayerNorm(epsilon=1e-6, name=name)(x.astype(jnp.float32)).astype(x.dtype)


def divisible(channels: float) -> int:
    """The multiple of 8 nearest to `channels`, never less than 8 or nine tenths of it: of the MobileNet family."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """max(x, 0), equal to `nn.relu` in value and gradient, in a form that XLA's CPU backend computes only once.

    `maximum(x, 0)` counts as so cheap that every reader computes it again, and with it the chain of residual blocks
    that it ends; what has two operands does not.
    """
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)


relu.defjvps(lambda tangent, result, x: jnp.where(result > 0, tangent, jnp.zeros((), tangent.dtype)))


def global_pool(x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, C], the mean over positions."""
    return jnp.mean(x, axis=(1, 2))


def max_pool(x: jax.Array, size: int, stride: int, padding: int | tuple = 0) -> jax.Array:
    """Max-pooling of [B, H, W, C] with `padding` positions of -inf on every side, or ((top, bottom), (left, right)).

    Equal to `nn.max_pool` in value and gradient, which goes to the first of equal values. XLA's CPU backend computes
    that gradient in a plain loop; by comparisons networks train up to a fifth faster (results/bench/convolve.md).
    """
    return _max_pool(x, size, stride, ((padding, padding),) * 2 if isinstance(padding, int) else padding)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _max_pool(x, size, stride, padding):
    return nn.max_pool(x, (size, size), (stride, stride), padding)


@_max_pool.defjvp
def _(size, stride, padding, primals, tangents):
    return jax.jvp(partial(_compared, size=size, stride=stride, padding=padding), primals, tangents)


def _compared(x, size, stride, padding):
    largest, *others = taps(x, (size, size), (stride, stride), padding, fill=-jnp.inf)
    for other in others:
        largest = jnp.where((other > largest) | jnp.isnan(other), other, largest)
    return largest


def avg_pool(x: jax.Array, size: int, stride: int, padding: int = 0) -> jax.Array:
    """Mean-pooling of [B, H, W, C] with `padding` zeros on every side, which count, as in torch."""
    total = nn.pooling.pool(x, 0.0, jax.lax.add, (size, size), (stride, stride), ((padding, padding),) * 2)
    return total / size**2


def flatten(x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, C * H * W], channel by channel as torch does, so that its dense weights fit."""
    return jnp.transpose(x, (0, 3, 1, 2)).reshape(x.shape[0], -1)
