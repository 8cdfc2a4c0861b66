"""Factor transfer: a paraphraser, trained first, condenses the teacher's map; the student's is translated into it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax.losses import masks
from kdjax.losses.common import attention_map, convolution, map_pair, normalise, pool_to_smaller, teacher_map


def paraphraser(student, teacher, labels, *, layer=-1, rate=0.5):
    """First stage of `factor_transfer`: mean squared error of a bottleneck's reconstruction of the teacher's map.

    Kim et al. 2018, arXiv:1802.04977. Give its term the name of the term of `factor_transfer`, which then finds the
    trained encoder. Looks at no student.

    Args:
      layer, rate: as those of `factor_transfer`.
    """
    target = teacher_map("paraphraser", teacher, layer)
    widths = (_narrow(target, rate), target.shape[-1], target.shape[-1])
    mask = teacher.mask
    decoded = _Convolutions(widths, transposed=True, name="decoder")(_encode(target, rate, mask), mask)
    return masks.mean(optax.squared_error(decoded, target), mask)


def factor_transfer(student, teacher, labels, *, layer=-1, rate=0.5, power=2):
    """Difference of the attention maps of factors, absolute values. Kim et al. 2018 (FT), arXiv:1802.04977.

    The teacher's factor is the paraphraser's, trained in a first stage and then held; the student's comes from three
    convolutions with BatchNorm, trained along. Mean over positions, as in RepDistiller's FT.py.

    Args:
      layer: the map, an int or a pair (student's, teacher's).
      rate: channels of a factor as a fraction of those of the teacher's map.
      power: of the attention map.
    """
    s, t = map_pair("factor_transfer", student, teacher, layer)
    mask = masks.shared(student, teacher)
    factor = jax.lax.stop_gradient(_encode(t, rate, mask))
    widths = (s.shape[-1], factor.shape[-1], factor.shape[-1])
    translated = _Convolutions(widths, normalised=True, name="translator")(s, mask)
    s, t = (attention_map(x, power) for x in pool_to_smaller(translated, factor))
    return masks.mean(jnp.abs(s - t), mask)


def _encode(x, rate, mask):
    """The paraphraser's factor of a teacher's map x [B, H, W, C]."""
    narrow = _narrow(x, rate)
    return _Convolutions((x.shape[-1], narrow, narrow), name="paraphraser")(x, mask)


def _narrow(x, rate) -> int:
    return max(int(x.shape[-1] * rate), 1)


class _Convolutions(nn.Module):
    """3x3 convolutions, each with BatchNorm if asked for and a leaky ReLU; zeros at the padding after each."""

    widths: tuple[int, ...]
    normalised: bool = False
    transposed: bool = False

    @nn.compact
    def __call__(self, x, mask):
        for i, width in enumerate(self.widths):
            x = convolution(x, width, 3, f"conv{i}", transposed=self.transposed)
            x = normalise(x, f"norm{i}", mask) if self.normalised else x
            x = masks.clear(nn.leaky_relu(x, 0.1), mask)
        return x
