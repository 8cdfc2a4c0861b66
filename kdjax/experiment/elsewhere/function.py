"""config.teacher.function: any callable that makes logits of inputs, whatever library it calls."""

import functools
import hashlib
import types
from collections.abc import Callable

from kdjax.config.trace import trace
from kdjax.data import fingerprint
from kdjax.experiment.elsewhere import Elsewhere, checked
from kdjax.find import find
from kdjax.models.given import given
from kdjax.runs import identity
from kdjax.types import Outputs, as_outputs

FIELD = "config.teacher.function"


def load(path: str, examples, size: int, logits: int) -> Elsewhere:
    """The teacher that an import path names: fn(inputs) -> logits [B, K], or Outputs, or what has `.logits`.

    Its identity is that of its module's file and of those that its attribute `files` names, weights say.

    Args:
      examples: `size` inputs as it sees them, on which it is tried.

    Raises:
      ValueError: there is no such function, it fails, or it gives what cannot teach.
    """
    fn = find(path, types.ModuleType("teachers"), FIELD)
    if not callable(fn):
        raise ValueError(f"{FIELD}: {path!r} is {fn!r}, and no function of inputs")
    say = functools.partial(_said, fn, path, logits)
    model = given(say(examples))
    digests = [path, *sorted(identity.of_modules([path]).items())]
    digests += [(name, fingerprint.of_file(name)) for name in map(str, getattr(fn, "files", ()))]
    return Elsewhere(path, hashlib.sha256(repr(digests).encode()).hexdigest(), model, say)


def _said(fn: Callable, path: str, logits: int, inputs) -> Outputs:
    leaves = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    found = trace(f"{FIELD} {path!r}", fn, inputs)
    if not isinstance(found, Outputs) and hasattr(found, "logits"):  # what Hugging Face's models return
        found = found.logits
    try:
        return checked(as_outputs(found), len(leaves[0]), logits)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{FIELD} {path!r}: {error}") from error
