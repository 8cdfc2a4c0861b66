"""Layers by their paths, of any Linen module: a network need not return Outputs to be compared on its features."""

import difflib

import flax.linen as nn

from kdjax.find import nearest
from kdjax.types import Outputs, as_outputs

FIELDS = ("features", "preacts", "embedding")
INPUT = ":input"


class Captured(nn.Module):
    """A network with what layers of it return as the features, preacts or embedding of its Outputs.

    Variables are those of `model`, at the same paths, and so are random numbers. Of a layer that is called several
    times the last call counts. What is inside of nn.scan or nn.remat is out of reach, what these return is not.
    """

    model: nn.Module  # returns Outputs, or logits [B, K] alone
    paths: tuple[str, ...]  # see `parsed`

    def setup(self):
        nn.share_scope(self, self.model)

    def __call__(self, inputs, train: bool = False) -> Outputs:
        """Raises a ValueError for a path at which there is no layer, or what is no array [B, ...]."""
        seen, depth = {}, len(self.path)

        def watch(call, args, kwargs, context):
            result = call(*args, **kwargs)
            if context.method_name == "__call__" and context.module.scope is not None:
                path = "/".join(context.module.path[depth:])
                seen.update({path: result, f"{path}{INPUT}": args[0] if args else None})
            return result

        with nn.intercept_methods(watch):
            outputs = as_outputs(self.model(inputs, train=train))
        found = {field: [] for field in FIELDS}
        for field, path in map(parsed, self.paths):
            found[field].append(self._checked(seen, field, path))
        embedding = found["embedding"][-1] if found["embedding"] else outputs.embedding
        return outputs.replace(
            features=tuple(found["features"]) or outputs.features,
            preacts=tuple(found["preacts"]) or (() if found["features"] else outputs.preacts),
            embedding=embedding,
        )

    def _checked(self, seen: dict, field: str, path: str):
        name = type(self.model).__name__
        layers = [layer for layer in seen if layer and not layer.endswith(INPUT)]
        if not path or path not in seen:
            wanted = path.removesuffix(INPUT)
            close = difflib.get_close_matches(wanted, layers, n=1)
            valid = close or [layer for layer in layers if "/" not in layer]
            raise ValueError(f"capture {path!r}: {name} calls no such layer{nearest(wanted, valid)}")
        value = seen[path]
        least, most, form = (2, 2, "[B, D]") if field == "embedding" else (2, 5, "[B, ..., C]")
        if not least <= getattr(value, "ndim", 0) <= most:
            told = list(getattr(value, "shape", ())) or type(value).__name__
            raise ValueError(f"capture {path!r}: {field} are arrays {form}, this layer of {name} has {told}")
        return value


def parsed(entry: str) -> tuple[str, str]:
    """(field of Outputs, path) of an entry of `capture`.

    "layer2/block_0" is what that layer returns, as one of the features; "preacts=layer2/norm" as one of the preacts,
    "embedding=head:input" what the layer "head" is given, as the embedding.

    Raises:
      ValueError: there is no such field.
    """
    field, equals, path = entry.partition("=")
    field, path = (field.strip(), path.strip()) if equals else ("features", entry.strip())
    if field not in FIELDS:
        raise ValueError(f"capture {entry!r}: a layer is taken as {', '.join(FIELDS)}{nearest(field, FIELDS)}")
    return field, path


def bare(model: nn.Module) -> nn.Module:
    """The network itself of one whose layers are captured: same variables, its own Outputs."""
    return model.model if isinstance(model, Captured) else model
