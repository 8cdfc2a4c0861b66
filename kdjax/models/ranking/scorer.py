"""A network that scores each item of a list by its features."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.types import Outputs


class Scorer(nn.Module):
    """Dense layers with ReLU on the features of each item alone, [B, L, F] -> scores [B, L]; padding scores 0.

    Features are normalised over the items of a batch, in evaluation by what training has seen, so that what ships takes
    them as they are.
    """

    num_classes: int  # the number of scores an item: 1
    widths: tuple[int, ...] = (64, 64)  # of the hidden layers
    log1p: bool = False  # sign(x) log(1 + |x|) before all else, for features that are counts (Qin et al. 2021, ICLR)
    seen: int = 0  # so many of the features, the first ones; 0: all
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, lists, train: bool = False) -> Outputs:
        x, mask = self._features(lists)
        if self.log1p:
            x = jnp.sign(x) * jnp.log1p(jnp.abs(x))
        x = ItemNorm(not train, self.axis_name, name="norm")(x, mask).astype(self.dtype)
        hidden = []
        for place, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, dtype=self.dtype, name=f"hidden{place}")(x))
            hidden.append(x)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        scores = nn.Dense(1, dtype=self.dtype, name="classifier")(x)[..., 0].astype(jnp.float32)
        return Outputs(jnp.where(mask, scores, 0.0), tuple(hidden), mask=mask)

    def _features(self, lists):
        """(features [B, L, F] float32, mask [B, L])."""
        known = isinstance(lists, dict) and lists.keys() == {"features", "mask"}
        if not known or lists["features"].ndim != 3 or lists["features"].shape[:2] != lists["mask"].shape:
            told = jax.tree.map(jnp.shape, lists)
            raise ValueError(
                "scorer takes lists, {'features': [B, L, F], 'mask': [B, L] true where an item is no padding}; got "
                f"{told}"
            )
        if self.num_classes != 1:
            raise ValueError(f"scorer gives one score an item, of config.task='ranking'; {self.num_classes} are asked")
        features, mask = lists["features"].astype(jnp.float32), lists["mask"].astype(bool)
        if not 0 <= self.seen <= features.shape[2]:
            raise ValueError(f"scorer: seen is {self.seen}, but items have {features.shape[2]} features")
        return features[..., : self.seen or None], mask


class ItemNorm(nn.Module):
    """BatchNorm over the items of all lists of a batch but for padding, without scale and shift."""

    use_running_average: bool
    axis_name: str | None = None
    momentum: float = 0.1  # the share of a batch in what is kept
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, mask):
        """[B, L, F] float32, [B, L] -> [B, L, F], zeros at padding."""
        running = [
            self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:]),
            self.variable("batch_stats", "var", jnp.ones, x.shape[-1:]),
        ]
        mean, var = (statistic.value for statistic in running)
        counted = mask[..., None]
        if not self.use_running_average:
            mean, var = self._moments(jnp.where(counted, x, 0.0), counted)
            if not self.is_initializing():
                for statistic, now in zip(running, (mean, var), strict=True):
                    statistic.value = (1 - self.momentum) * statistic.value + self.momentum * now
        normalised = (x - mean[None, None]) * jax.lax.rsqrt(var + self.epsilon)[None, None]
        return jnp.where(counted, normalised, 0.0)

    def _moments(self, x, counted):
        """(mean, variance) [F], over the items of all devices."""
        mean_of = lambda total: total / jnp.maximum(self._summed(jnp.sum(counted, dtype=x.dtype)), 1.0)  # noqa: E731
        mean = mean_of(self._summed(jnp.sum(x, axis=(0, 1))))
        centred = jnp.where(counted, x - mean[None, None], 0.0)
        return mean, mean_of(self._summed(jnp.sum(jnp.square(centred), axis=(0, 1))))

    def _summed(self, x):
        return jax.lax.psum(x, self.axis_name) if self.axis_name and not self.is_initializing() else x


def scorer(num_classes: int, **fields) -> Scorer:
    """Two hidden layers of 64 units on the features of an item, unless `widths` says otherwise."""
    return Scorer(num_classes, **fields)
