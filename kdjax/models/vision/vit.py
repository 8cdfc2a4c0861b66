"""Vision Transformers of DeiT. Dosovitskiy et al. 2020, arXiv:2010.11929; Touvron et al. 2020, arXiv:2012.12877."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models.layers import Layers, layer_norm, torch_default
from kdjax.types import Outputs

_INITS = dict(kernel_init=nn.initializers.normal(0.02), bias_init=nn.initializers.zeros)


class Encoder(nn.Module):
    """Self-attention and a two-layer perceptron four times as wide, each on normalised tokens and added to them."""

    layers: Layers
    heads: int

    @nn.compact
    def __call__(self, x):  # [B, T, C] -> [B, T, C]
        linear, width = self.layers.linear, x.shape[-1]
        qkv = linear(layer_norm(x, "norm1"), 3 * width, "attn_qkv", **_INITS)
        q, k, v = jnp.split(qkv.reshape(*x.shape[:2], 3 * self.heads, -1), 3, axis=2)  # [B, T, heads, C / heads]
        x = x + linear(attend(q, k, v).reshape(x.shape), width, "attn_proj", **_INITS)
        y = nn.gelu(linear(layer_norm(x, "norm2"), 4 * width, "mlp_fc1", **_INITS), approximate=False)
        return x + linear(y, width, "mlp_fc2", **_INITS)


def attend(q, k, v):
    """Attention of q, k, v [B, T, heads, D], softmax in float32; those of jax.nn and flax refuse strict promotion."""
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    return jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores).astype(v.dtype), v)


class VisionTransformer(nn.Module):
    """Twelve encoder blocks on patches; the position embeddings belong to one size of images, a multiple of `patch`.

    Taps: the embedded patches as a map [B, H / patch, W / patch, C], then every third block; no activation follows,
    so `preacts` are the same. `embedding` is the class token's. Without dropout and stochastic depth.
    With distilled=True there is a second token with a head of its own, `head_dist`, and `logits` are the mean of both
    heads', in training too.
    """

    num_classes: int
    width: int
    heads: int
    patch: int = 16  # pixels
    distilled: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None  # no BatchNorm here: nothing crosses devices

    @nn.compact
    def __call__(self, image, train: bool = False) -> Outputs:
        if image.shape[1] % self.patch or image.shape[2] % self.patch:
            height, width = image.shape[1:3]
            raise ValueError(f"images of {height}x{width} do not divide into patches of {self.patch}x{self.patch}")
        layers = Layers(self.dtype, self.axis_name, train, torch_default)
        patches = layers.conv(
            image, self.width, self.patch, "patch_embed_proj", stride=self.patch, padding=0, bias=True
        )
        grid = patches.shape
        tokens = ("cls_token", "dist_token") if self.distilled else ("cls_token",)
        x = jnp.concatenate(
            [
                *(jnp.tile(self._embedding(name, 1), (image.shape[0], 1, 1)) for name in tokens),
                patches.reshape(image.shape[0], -1, self.width),
            ],
            axis=1,
        )
        x = x + self._embedding("pos_embed", x.shape[1])
        features = [x[:, len(tokens) :].reshape(grid)]
        for i in range(12):
            x = Encoder(layers, self.heads, name=f"blocks_{i}")(x)
            if i % 3 == 2:
                features.append(x[:, len(tokens) :].reshape(grid))
        x = layer_norm(x, "norm")
        outputs = layers.outputs(x[:, 0], self.num_classes, features, features, **_INITS)
        if not self.distilled:
            return outputs
        other = layers.linear(x[:, 1], self.num_classes, "head_dist", **_INITS).astype(jnp.float32)
        return outputs.replace(logits=(outputs.logits + other) / 2)

    def _embedding(self, name, length):
        shape = (1, length, self.width)
        return self.param(name, nn.initializers.normal(0.02), shape).astype(self.dtype)


def deit_tiny(num_classes: int, **fields) -> VisionTransformer:
    """DeiT-tiny with patches of 16 pixels; distilled=True adds the distillation token."""
    return VisionTransformer(num_classes, 192, 3, **fields)


def deit_small(num_classes: int, **fields) -> VisionTransformer:
    """DeiT-small with patches of 16 pixels; distilled=True adds the distillation token."""
    return VisionTransformer(num_classes, 384, 6, **fields)
