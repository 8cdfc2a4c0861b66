"""Teachers that are no networks of JAX: files of outputs, ONNX files, functions of any library.

What they say of the training examples is computed once and kept (`kdjax.experiment.taught`), on the host.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import jax
import numpy as np

from kdjax.models.given import FIELDS, Given
from kdjax.training import kept
from kdjax.types import Outputs


@dataclass(frozen=True)
class Elsewhere:
    """A teacher of elsewhere."""

    name: str  # as tables show it
    sha256: str  # of its file, or of the files of a function
    model: Given
    say: Callable | None = None  # inputs as it sees them, NumPy arrays [B, ...] -> Outputs [B, ...] float32
    stored: dict[str, Outputs] = field(default_factory=dict)  # split -> Outputs [N, ...], where it is a file of outputs
    remarks: tuple[str, ...] = ()

    def answers(self, batches: Iterable, positions: np.ndarray) -> Iterable[tuple[np.ndarray, dict]]:
        """What it says of the examples of some batches, as `kdjax.training.kept.answers`.

        Args:
          batches: of `Feed.whole`; positions: [N] of its examples in the training split.
        """
        if self.say is not None:
            yield from kept.answers(self._shown, None, batches)
            return
        for indices, _ in batches:
            yield indices, {"first": jax.tree.map(lambda leaf, at=positions[indices]: leaf[at], self.stored["train"])}

    def _shown(self, _, inputs) -> Outputs:
        """Outputs [1, B, ...] of inputs [1, B, ...]."""
        said = self.say(jax.tree.map(lambda leaf: np.asarray(leaf)[0], inputs))
        return jax.tree.map(lambda leaf: leaf[None], said)

    def of(self, split: str, arrays, transform: Callable, size: int) -> Outputs | None:
        """What it says of an evaluation split; None where a file says nothing of it."""
        if self.say is None:
            return self.stored.get(split)
        parts = []
        for start in range(0, len(arrays), size):
            inputs = transform(arrays.take(slice(start, start + size)).input)
            parts.append(self.say(jax.tree.map(np.asarray, inputs)))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def checked(outputs: Outputs, size: int, logits: int) -> Outputs:
    """Outputs of so many examples as float32.

    Raises:
      ValueError: another number of examples or of logits, a field that no teacher of elsewhere has, or a number that is
        not finite.
    """
    if stray := [name for name in ("mask", "peers") if jax.tree.leaves(getattr(outputs, name))]:
        raise ValueError(f"it gives {stray[0]}; of Outputs it may give {', '.join(FIELDS)}")
    made = jax.tree.map(_numbers, outputs)
    if made.logits.shape != (size, logits):
        raise ValueError(
            f"its logits have shape {list(made.logits.shape)} for {size} examples, and {[size, logits]} is needed"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(made):
        name = jax.tree_util.keystr(path)
        if leaf.ndim < 2 or len(leaf) != size:
            raise ValueError(f"its {name[1:]} have shape {list(leaf.shape)} for {size} examples, the first axis")
        bad = ~np.isfinite(leaf.reshape(size, -1)).all(1)
        if bad.any():
            raise ValueError(
                f"its {name[1:]} of example {int(bad.argmax())} of {size} are not finite: it teaches nothing"
            )
    return made


def _numbers(leaf) -> np.ndarray:
    if hasattr(leaf, "detach"):  # a tensor of PyTorch
        leaf = leaf.detach().cpu()
    return np.ascontiguousarray(np.asarray(leaf), np.float32)
