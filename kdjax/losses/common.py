"""What losses share: checked access to Outputs in float32, pooling, and norms with finite gradients everywhere.

Sizes: B examples, K classes, H x W positions of a map, T tokens, C channels, D embedding width.

Tokens [B, T, C] are maps of one column, [B, T, 1, C], to every loss that takes them: `maps` makes them so, with zeros
at the padding (kdjax.losses.masks).
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen import initializers

from kdjax.losses import masks

torch_default = initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(+-1 / sqrt(fan in)): what the layers of the reference implementations start from."""


def uniform(bound: float):
    """Initializer U(-bound, bound)."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


batch_norm = dict(use_running_average=False, momentum=0.9, epsilon=1e-5)
"""Fields of a BatchNorm inside a loss: always in training mode, torch's constants."""


class Parameter(nn.Module):
    """A trained float32 array of no layer: `Parameter(name="scale")(jnp.zeros, (3,))` starts from zeros."""

    @nn.compact
    def __call__(self, init, *args) -> jax.Array:
        return self.param("value", lambda _: init(*args).astype(jnp.float32))


def wide(x: jax.Array) -> jax.Array:
    """x in float32; float64 stays."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


MAPS, TOKENS = "maps [B, H, W, C]", "tokens [B, T, C]"

FORMS = {
    "logits": {2: "[B, K]"},
    "embedding": {2: "[B, D]"},
    "features": {4: MAPS, 3: TOKENS},
    "preacts": {4: MAPS, 3: TOKENS},
    "attentions": {4: "[B, heads, T, T]"},
    "qkv": {4: "[B, T, heads, C / heads]"},
}
"""Field of Outputs -> {rank: what an array of that rank is}: what a loss can take."""


def checked(loss: str, who: str, field: str, x, forms: Mapping[int, str], layer: int | None = None) -> jax.Array:
    """x in float32.

    Args:
      forms: {rank: what it is} of those that the loss takes, for one that takes less than FORMS[field].
      layer: where x stands in the field, if that is a tuple.

    Raises:
      ValueError: x has another rank.
    """
    if x.ndim not in forms:
        place = field if layer is None else f"{field}[{layer}]"
        known = FORMS[field].get(x.ndim)
        raise ValueError(
            f"{loss}: the {who}'s {place} has shape {tuple(x.shape)}, rank {x.ndim}{f', {known}' if known else ''}; "
            f"this loss takes {' or '.join(forms.values())}"
        )
    return wide(x)


def logits_of(loss: str, who: str, outputs) -> jax.Array:
    """[B, K] of one network, `who` in messages.

    Raises:
      ValueError: another rank.
    """
    return checked(loss, who, "logits", outputs.logits, FORMS["logits"])


def logits(loss: str, student, teacher) -> tuple[jax.Array, jax.Array]:
    """([B, K], [B, K]) of the student and the teacher.

    Raises:
      ValueError: another rank, or their shapes differ.
    """
    s, t = logits_of(loss, "student", student), logits_of(loss, "teacher", teacher)
    if s.shape != t.shape:
        raise ValueError(f"{loss}: logits of student and teacher must have one shape, got {s.shape} and {t.shape}")
    return s, t


def embeddings(loss: str, student, teacher) -> tuple[jax.Array, jax.Array]:
    """([B, D], [B, D']) of the student and the teacher.

    Raises:
      ValueError: a model that gives no embedding, or one of another rank.
    """
    return embedding_of(loss, "student", student), embedding_of(loss, "teacher", teacher)


def embedding_of(loss: str, who: str, outputs) -> jax.Array:
    """[B, D] of one network, `who` in messages.

    Raises:
      ValueError: a model that gives no embedding, or one of another rank.
    """
    if outputs.embedding is None:
        raise ValueError(
            f"{loss}: the {who} gives no embedding; its model must return Outputs(embedding=[B, D]), "
            f"or config.{who}.capture name the layer, 'embedding=head:input'"
        )
    return checked(loss, who, "embedding", outputs.embedding, FORMS["embedding"])


def maps(
    loss: str, student, teacher, layers, field="features", name="layers", *, forms=FORMS["features"], aligned=True
) -> list[tuple[jax.Array, jax.Array]]:
    """[([B, H, W, C] of the student, [B, H', W', C'] of the teacher), ...] for the layers, shallow to deep.

    Tokens [B, T, C] come as maps of one column, [B, T, 1, C], with zeros at the padding: if aligned that of
    `kdjax.losses.masks.shared`, else each network's own.

    Args:
      layers: indices into `field`, each an int or a pair (student's, teacher's); None: every map but the first, which
        is the stem of the networks that have one; the only one where there is only one.
      field: "features" or "preacts", or a pair of them (student's, teacher's).
      name: of the hyperparameter, for messages.
      forms: {rank: what it is} of those that the loss takes; {4: MAPS} if it looks at height and width.
      aligned: the loss compares positions of the student's with positions of the teacher's, maps of different sizes
        being pooled. Tokens are not pooled: a mean of neighbours in a sequence stands for neither.

    Raises:
      ValueError: no maps, an index out of range, or None for models that have different numbers of maps; another rank;
        if aligned, a map beside tokens, or tokens of different numbers; a mask that is not that of the tokens.
    """
    fields = (field, field) if isinstance(field, str) else field
    ours, theirs = tuple_of(loss, "student", student, fields[0]), tuple_of(loss, "teacher", teacher, fields[1])
    if layers is None:
        if len(ours) != len(theirs):
            raise ValueError(
                f"{loss}: the student has {len(ours)} {fields[0]} and the teacher {len(theirs)}; "
                "say which belong together, as layers=((0, 1), (1, 3)) of (student's, teacher's)"
            )
        layers = range(min(1, len(ours) - 1), len(ours))
    if len(tuple(layers)) == 0:
        raise ValueError(f"{loss}: {name} is empty; name at least one of the student's {len(ours)} {fields[0]}")
    both = masks.shared(student, teacher)
    s_mask, t_mask = (both, both) if aligned else (student.mask, teacher.mask)
    pairs = []
    for ours_at, theirs_at in (_pair(loss, layer) for layer in layers):
        s = _pick(loss, "student", ours, ours_at, fields[0], name, forms)
        t = _pick(loss, "teacher", theirs, theirs_at, fields[1], name, forms)
        if aligned:
            _check_aligned(loss, s, t)
        pairs.append((_as_map(loss, s, s_mask), _as_map(loss, t, t_mask)))
    return pairs


def map_pair(loss: str, student, teacher, layer, field="features", *, aligned=True) -> tuple[jax.Array, jax.Array]:
    """One pair of `maps`; `layer` is an int or a pair (student's, teacher's)."""
    return maps(loss, student, teacher, (layer,), field, "layer", aligned=aligned)[0]


def teacher_map(loss: str, teacher, layer, field: str = "features") -> jax.Array:
    """The teacher's map of `map_pair`, for a loss that looks at no student."""
    found = tuple_of(loss, "teacher", teacher, field)
    return _as_map(
        loss, _pick(loss, "teacher", found, _pair(loss, layer)[1], field, "layer", FORMS[field]), teacher.mask
    )


def student_maps(loss: str, student, field: str = "features") -> list[jax.Array]:
    """All of the student's maps as `maps` gives them, for a loss that looks at no teacher."""
    found = tuple_of(loss, "student", student, field)
    picked = [_pick(loss, "student", found, i, field, "layer", FORMS[field]) for i in range(len(found))]
    return [_as_map(loss, x, student.mask) for x in picked]


def same_channels(loss: str, pairs) -> None:
    """Raises a ValueError if the maps of a pair differ in channels."""
    for s, t in pairs:
        if s.shape[-1] != t.shape[-1]:
            raise ValueError(
                f"{loss}: maps of student and teacher must have equally many channels, got {s.shape[-1]} and "
                f"{t.shape[-1]}; name other layers, or choose a loss that regresses, such as fitnet"
            )


def tuple_of(loss: str, who: str, outputs, field: str) -> tuple:
    """A field of Outputs that is a tuple of arrays.

    Raises:
      ValueError: it is none, or an empty one.
    """
    first, *others = FORMS[field].values()
    shape = first.removeprefix("maps ")
    found, valid = getattr(outputs, field), f"Outputs({field}=({shape}, ...)){''.join(f', or {x}' for x in others)}"
    if not isinstance(found, tuple | list):
        told = f"one array of shape {tuple(found.shape)}" if hasattr(found, "shape") else type(found).__name__
        raise ValueError(f"{loss}: the {who}'s {field} is {told}, not a tuple; its model must return {valid}")
    if len(found) == 0:
        raise ValueError(f"{loss}: the {who} gives no {field}; its model must return {valid}")
    return found


def _pair(loss, layer):
    pair = layer if isinstance(layer, tuple | list) else (layer, layer)
    if len(pair) != 2:
        raise ValueError(f"{loss}: a layer is an int or a pair (student's, teacher's), got {layer!r}")
    return pair


def _check_aligned(loss, s, t):
    """Raises a ValueError if positions of s do not stand for positions of t, and pooling cannot make them so."""
    if s.ndim == t.ndim and (s.ndim != 3 or s.shape[1] == t.shape[1]):
        return
    told = [f"{FORMS['features'][x.ndim].split()[0]} of shape {tuple(x.shape)}" for x in (s, t)]
    raise ValueError(
        f"{loss}: compares the student with the teacher position by position, and was given {told[0]} and {told[1]}; "
        "valid are two maps, or equally many tokens: name such layers, or choose a loss that compares examples, such "
        "as similarity"
    )


def _as_map(loss, x, mask):
    if mask is not None and (x.ndim != 3 or mask.shape != x.shape[:2]):
        raise ValueError(
            f"{loss}: the mask has shape {tuple(mask.shape)} beside an array of shape {tuple(x.shape)}; a mask [B, T] "
            "belongs to tokens [B, T, C]"
        )
    return x if x.ndim == 4 else masks.clear(x, mask)[:, :, None, :]


def _pick(loss, who, found, layer, field, name, forms):
    if not -len(found) <= layer < len(found):
        raise ValueError(
            f"{loss}: {name}: {layer} is out of range; the {who} has {len(found)} {field}, valid are "
            f"{-len(found)} to {len(found) - 1}"
        )
    return checked(loss, who, field, found[layer], forms, layer)


def classes(loss: str, labels, num_classes: int) -> tuple[jax.Array, jax.Array]:
    """([B, K] bool, true at the class of each example; [B] bool, true where the example is labelled).

    Raises:
      ValueError: labels are soft.
    """
    if labels.ndim != 1:
        raise ValueError(f"{loss}: needs one class for each example, [B] integers; got labels of shape {labels.shape}")
    return labels[:, None] == jnp.arange(num_classes, dtype=labels.dtype)[None, :], labels >= 0


def labelled_mean(values, labelled) -> jax.Array:
    """Mean of values [B] over the labelled examples, or of values of any shape where `labelled`; 0 where nothing is."""
    count = jnp.sum(labelled, dtype=values.dtype)
    return jnp.sum(jnp.where(labelled, values, 0.0)) / jnp.maximum(count, 1.0)


def norm(x, axis=-1) -> jax.Array:
    """Euclidean norm, the axis kept; its gradient at 0 is 0 instead of NaN."""
    squared = jnp.sum(jnp.square(x), axis, keepdims=True)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)


def unit(x, axis=-1) -> jax.Array:
    """x / |x|; what is shorter than 1e-12 becomes 0 with gradient 0, where 1/|x| would explode."""
    squared = jnp.sum(jnp.square(x), axis, keepdims=True)
    positive = squared > 1e-24
    return x * jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, squared, 1.0)), 0.0)


def dot(subscripts: str, a, b) -> jax.Array:
    """Einsum in full float32; a GPU's default of 10 bits would drown the small differences that losses look at."""
    return jnp.einsum(subscripts, a, b, precision="highest")


def pool(x: jax.Array, height: int, width: int) -> jax.Array:
    """[B, H, W, C] -> [B, height, width, C], means over equal windows, or overlapping ones where sizes do not divide.

    The windows are those of torch's adaptive_avg_pool2d.
    """
    batch, h, w, channels = x.shape
    if (h, w) == (height, width):
        return x
    if h % height == 0 and w % width == 0:
        return x.reshape(batch, height, h // height, width, w // width, channels).mean((2, 4))
    rows, columns = (jnp.asarray(_windows(*sizes), x.dtype) for sizes in ((h, height), (w, width)))
    return dot("jw,biwc->bijc", columns, dot("ih,bhwc->biwc", rows, x))


def _windows(size: int, cells: int) -> np.ndarray:
    """[cells, size]: the weight of each position in each window."""
    starts = np.arange(cells) * size // cells
    ends = -(-(np.arange(1, cells + 1) * size) // cells)
    inside = (np.arange(size) >= starts[:, None]) & (np.arange(size) < ends[:, None])
    return inside / inside.sum(1, keepdims=True)


def pool_to_smaller(a, b) -> tuple[jax.Array, jax.Array]:
    """Both maps at the smaller height and the smaller width of the two."""
    size = min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2])
    return pool(a, *size), pool(b, *size)


def linear(x, width: int, name: str) -> jax.Array:
    """A dense layer, [B, D] -> [B, width], that starts as torch's does."""
    bound = x.shape[-1] ** -0.5
    return nn.Dense(width, kernel_init=torch_default, bias_init=uniform(bound), name=name)(x)


def convolution(x, width: int, kernel: int, name: str, *, stride=1, padding="SAME", transposed=False, use_bias=True):
    """A convolution, [B, H, W, C] -> [B, H', W', width], that starts as torch's Conv2d and ConvTranspose2d do.

    Kernel and bias are drawn from U(+-1 / sqrt(fan in)); that of a transposed one is kernel^2 x its *output* channels,
    for torch counts it on a tensor [in, out, kernel, kernel] as if that were a convolution's.
    """
    start = uniform((kernel**2 * (width if transposed else x.shape[-1])) ** -0.5)
    kind = nn.ConvTranspose if transposed else nn.Conv
    fields = dict(use_bias=use_bias, kernel_init=start, bias_init=start, name=name)
    return kind(width, (kernel, kernel), (stride, stride), padding, **fields)(x)


def positions(x) -> jax.Array:
    """[B, *positions, C] -> [B, N, C], N positions in all."""
    return x.reshape(x.shape[0], -1, x.shape[-1])


def attention_map(x, power):
    """[B, H, W, C] -> [B, H*W]."""
    x = jnp.square(x) if power == 2 else jnp.abs(x) ** power
    return unit(jnp.mean(positions(x), -1))


def regress(x, target, kernel: int, suffix: str = "", mask=None):
    """(x with the channels and size of the target, through convolution and BatchNorm, the target)."""
    size, goal = x.shape[1:3], target.shape[1:3]
    width, name = target.shape[-1], f"regressor{suffix}"
    if size == (goal[0] * 2, goal[1] * 2):
        x = convolution(x, width, 3, name, stride=2, padding=1)
    elif goal == (size[0] * 2, size[1] * 2):
        x = convolution(x, width, 4, name, stride=2, transposed=True)
    else:
        x, target = pool_to_smaller(x, target)
        x = convolution(x, width, kernel, name)
    return normalise(x, f"norm{suffix}", mask), target


def normalise(x, name: str, mask=None):
    """BatchNorm of [B, H, W, C] or of tokens [B, T, 1, C], of which those at the padding do not count."""
    return nn.BatchNorm(**batch_norm, name=name)(x, mask=None if mask is None else masks.along(mask, x))


def subtree(loss: str, tree, path: str, who: str = "teacher"):
    """What stands at a path such as "params/layer1_0/bn2" in the teacher's variables, or in those of another, `who`.

    Raises:
      ValueError: nothing; the message names what there is.
    """
    found = tree
    for name in path.split("/"):
        if name not in found:
            raise ValueError(
                f"{loss}: the {who}'s variables have no {path!r}; instead of {name!r} there are "
                f"{', '.join(sorted(found)) or 'none'}"
            )
        found = found[name]
    return found
