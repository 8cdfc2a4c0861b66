"""Losses on the hidden states and the attention of encoders of texts; what is padding counts in none of them.

`layers` says which of the teacher's layers teaches which of the student's: a name of `kdjax.losses.layers.NAMES` or
pairs of (student's, teacher's), numbered from 1.

Sizes: B examples, T tokens, C channels, A heads, D = C / A.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax.losses import masks
from kdjax.losses.common import FORMS, TOKENS, checked, dot, maps, same_channels, torch_default, tuple_of, uniform, unit
from kdjax.losses.layers import layer_map

_NOTHING = -1e9
"""The score of padding before a softmax: its probability is 0, and differences of logarithms are finite."""


def tinybert(student, teacher, labels, *, layers=None, attention_weight=1.0, hidden_weight=1.0, embedding_weight=1.0):
    """Attention scores, hidden states and embeddings of layers. Jiao et al. 2020 (TinyBERT), arXiv:1909.10351.

    Squared differences of the scores before softmax, head by head, and of hidden states through one linear layer,
    trained along, which takes the embeddings' output too: so the authors' code, where the paper has a matrix of its own
    for embeddings. Means over entries, summed over layers. The code sets the scores of padded keys to 0 and lets these
    and all positions of padding count; here means are over tokens alone, so that padding changes nothing. Meant as a
    first stage: the second is `kd` at temperature 1, without labels.

    Args:
      layers: None: "uniform".
      attention_weight, hidden_weight, embedding_weight: of the three parts; at 0 nothing is read for one.

    Raises:
      ValueError: networks that differ in heads, while scores are compared, or hidden states of different widths.
    """
    mask, total = masks.shared(student, teacher), 0.0
    if attention_weight:
        for s, t in _scores(tinybert, student, teacher, layers):
            total += attention_weight * masks.mean_of_pairs(optax.squared_error(s, t), mask)
    chosen = [(embedding_weight, (0, 0))] if embedding_weight else []
    if hidden_weight:
        chosen += [(hidden_weight, pair) for pair in layers_of(tinybert, student, teacher, layers)]
    pairs = maps("tinybert", student, teacher, [pair for _, pair in chosen], forms=_TOKENS) if chosen else []
    widths = [sorted({pair[side].shape[-1] for pair in pairs}) for side in (0, 1)]
    if max(map(len, widths)) > 1:
        raise ValueError(
            f"tinybert: one projection takes the student's hidden states to the teacher's, and they have the widths "
            f"{widths[0]} and {widths[1]}; embedding_weight=0 leaves the embeddings out"
        )
    if pairs:
        start = dict(kernel_init=torch_default, bias_init=uniform(widths[0][0] ** -0.5))
        project = nn.Dense(widths[1][0], **start, name="projection")
    for (weight, _), (s, t) in zip(chosen, pairs, strict=True):
        total += weight * masks.mean(optax.squared_error(project(s), t), mask)
    return total


def pkd(student, teacher, labels, *, layers=None, normalise=True):
    """Squared distance of the first token's hidden states, of unit length. Sun et al. 2019 (PKD), arXiv:1908.09355.

    Mean over examples, layers and channels, as in the authors' code (which rounds the result to half precision); the
    paper has the sum over channels, C times as much, and so has TextBrewer: its weights of 10 to 1000 are for the mean.
    The last layer is left out, whatever `layers` says: it makes the logits.

    Args:
      layers: None: "skip".
      normalise: False: distances of the states as they are.

    Raises:
      ValueError: hidden states of different widths, or a student of one layer.
    """
    pairs = maps("pkd", student, teacher, layers_of(pkd, student, teacher, layers), forms=_TOKENS)
    same_channels("pkd", pairs)
    first = [(s[:, 0, 0], t[:, 0, 0]) for s, t in pairs]
    if normalise:
        first = [(unit(s), unit(t)) for s, t in first]
    return jnp.mean(jnp.stack([optax.squared_error(s, t) for s, t in first]))


def distilbert(student, teacher, labels, *, layer=-1):
    """1 - the cosine of hidden states, mean over tokens. Sanh et al. 2019 (DistilBERT), arXiv:1910.01108.

    The last layer's, of one width, beside `kd` and labels; huggingface's distiller.py.

    Args:
      layer: index of `features`, an int or a pair (student's, teacher's).
    """
    pairs = maps("distilbert", student, teacher, (layer,), name="layer", forms=_TOKENS)
    same_channels("distilbert", pairs)
    s, t = (unit(x) for x in pairs[0])
    return masks.mean(1.0 - jnp.sum(s * t, -1), masks.shared(student, teacher))


def attention_mse(student, teacher, labels, *, layers=None):
    """Squared difference of attention scores before softmax, mean over heads and pairs of tokens, summed over layers.

    TextBrewer's att_mse with a mask; without one it sets every score below -0.001 to 0, that is, all negative ones:
    not here.

    Args:
      layers: None: "uniform".
    """
    mask = masks.shared(student, teacher)
    pairs = _scores(attention_mse, student, teacher, layers)
    return sum(masks.mean_of_pairs(optax.squared_error(s, t), mask) for s, t in pairs)


def attention_kl(student, teacher, labels, *, layers=None):
    """KL divergence of attention weights, teacher || student, mean over heads and tokens, summed over layers.

    TextBrewer's att_ce is the same but for the teacher's entropy, which has no gradient.

    Args:
      layers: None: "uniform".
    """
    mask = masks.shared(student, teacher)
    pairs = _scores(attention_kl, student, teacher, layers)
    return sum(_divergence(s, t, mask) for s, t in pairs)


def minilm(student, teacher, labels):
    """Attention and relations of values of the last layer. Wang et al. 2020 (MiniLM), arXiv:2002.10957, equations 3-6.

    KL divergences, teacher || student, of softmax(Q K / sqrt(D)) and of softmax(V V / sqrt(D)), mean over heads and
    tokens, added. Student and teacher may differ in width; padded keys have no weight. There is no training code of the
    authors.

    Raises:
      ValueError: networks that differ in heads.
    """
    (s_q, s_k, s_v), (t_q, t_k, t_v) = _qkv("minilm", student, teacher)
    if s_q.shape[2] != t_q.shape[2]:
        raise ValueError(
            f"minilm: compares head by head, and the student has {s_q.shape[2]}, the teacher {t_q.shape[2]}; give the "
            "student as many, or choose minilm2, which makes heads of its own"
        )
    mask = masks.shared(student, teacher)
    attention = _divergence(_relation(s_q, s_k), _relation(t_q, t_k), mask)
    return attention + _divergence(_relation(s_v, s_v), _relation(t_v, t_v), mask)


def minilm2(student, teacher, labels, *, relation_heads=None):
    """Relations of queries, of keys and of values of the last layer. Wang et al. 2021 (MiniLMv2), arXiv:2012.15828.

    As the second part of `minilm`, three times, with heads of its own into which all channels are divided anew. The
    paper takes a layer before the last from large teachers; here it is the last.

    Args:
      relation_heads: a divisor of both widths, 12 to 64 in the paper; None: the teacher's heads.

    Raises:
      ValueError: a width that does not divide.
    """
    ours, theirs = _qkv("minilm2", student, teacher)
    heads = relation_heads or theirs[0].shape[2]
    for who, x in (("student", ours[0]), ("teacher", theirs[0])):
        if (width := x.shape[2] * x.shape[3]) % heads:
            raise ValueError(f"minilm2: the {who}'s width {width} does not divide into relation_heads={heads}")
    mask, total = masks.shared(student, teacher), 0.0
    for pair in zip(ours, theirs, strict=True):
        s, t = (x.reshape(*x.shape[:2], heads, -1) for x in pair)
        total += _divergence(_relation(s, s), _relation(t, t), mask)
    return total


_TOKENS = {3: TOKENS}


def layers_of(fn, student, teacher, layers=None) -> tuple[tuple[int, int], ...]:
    """The pairs of (student's, teacher's) layers, from 1, that a loss here compares; () if it has no `layers`."""
    if fn not in (tinybert, pkd, attention_mse, attention_kl):
        return ()
    field, embedded = ("attentions", 0) if fn in (attention_mse, attention_kl) else ("features", 1)
    counts = [len(found) - embedded for _, found in _both(fn.__name__, student, teacher, field)]
    pairs = layer_map(fn.__name__, layers or ("skip" if fn is pkd else "uniform"), *counts)
    return tuple(pair for pair in pairs if pair[0] != counts[0]) if fn is pkd else pairs


def _scores(fn, student, teacher, layers) -> list[tuple[jax.Array, jax.Array]]:
    """Attention scores [B, A, T, T] of the student and the teacher, for each pair of layers.

    Raises:
      ValueError: none are given, or they differ in heads or tokens.
    """
    loss = fn.__name__
    ours, theirs = (
        [checked(loss, who, "attentions", x, FORMS["attentions"], i) for i, x in enumerate(found)]
        for who, found in _both(loss, student, teacher, "attentions")
    )
    pairs = [(ours[i - 1], theirs[j - 1]) for i, j in layers_of(fn, student, teacher, layers)]
    for s, t in pairs:
        if s.shape != t.shape:
            raise ValueError(
                f"{loss}: compares attention head by head, and was given scores [B, heads, T, T] of {tuple(s.shape)} "
                f"and {tuple(t.shape)}; give the student as many heads, or choose minilm2, which makes its own"
            )
    return pairs


def _qkv(loss: str, student, teacher) -> list[list[jax.Array]]:
    """Queries, keys and values [B, T, A, D], of the student and of the teacher."""
    found = [
        [checked(loss, who, "qkv", x, FORMS["qkv"], i) for i, x in enumerate(given)]
        for who, given in _both(loss, student, teacher, "qkv")
    ]
    lengths = [x[0].shape[1] for x in found]
    if lengths[0] != lengths[1]:
        raise ValueError(f"{loss}: compares tokens, and the student has {lengths[0]}, the teacher {lengths[1]}")
    return found


def _both(loss: str, student, teacher, field: str):
    return [(who, tuple_of(loss, who, given, field)) for who, given in (("student", student), ("teacher", teacher))]


def _relation(a, b):
    """Scaled products of [B, T, A, D] -> [B, A, T, T]."""
    return dot("bqhd,bkhd->bhqk", a, b) * a.shape[-1] ** -0.5


def _divergence(s, t, mask):
    """KL(softmax(t) || softmax(s)) of scores [B, A, T, T] over keys, mean over heads and tokens."""
    if mask is not None:
        s, t = (jnp.where(mask[:, None, None, :], x, _NOTHING) for x in (s, t))
    s, t = nn.log_softmax(s), nn.log_softmax(t)
    return masks.mean_of_rows(jnp.sum(jnp.exp(t) * (t - s), -1), mask)
