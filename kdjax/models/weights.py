"""Weights on disk: safetensors, read without trusting the file, and kdjax's own with a JSON that describes them."""

import contextlib
import json
import re
import shlex
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import safetensors
import safetensors.numpy

from kdjax.files import read_description, write_bytes
from kdjax.types import batch_of

FORMAT = "kdjax"
"""Value of "format" in the header of a file written here; "pt" or nothing means PyTorch."""

_READABLE = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_PICKLES = (".pth", ".pt", ".bin", ".th", ".tar", ".ckpt", ".pkl", ".pickle")


def save(path, variables, metadata: dict) -> None:
    """Writes variables to <path>, a .safetensors file, and what they are to <path with .json>.

    Args:
      path: of the .safetensors file; its folder must exist. Each file is written beside its place and renamed.
      variables: of a model, {"params": ..., "batch_stats": ...}.
      metadata: what JSON can hold; by convention model (name in kdjax.models or import path), kwargs, classes (names),
        normalisation ({"mean", "std"} per channel of pixels scaled to 0..1), image_shape and accuracy (as measured).
    """
    path = _safetensors_path(path)
    flat = flax.traverse_util.flatten_dict(dict(variables), sep=".")
    tensors = {name: np.asarray(jax.device_get(leaf), order="C") for name, leaf in flat.items()}
    write_bytes(path.with_suffix(".json"), (json.dumps(metadata, indent=2) + "\n").encode())
    write_bytes(path, safetensors.numpy.save(tensors, {"format": FORMAT}))


def describe(path) -> dict:
    """The metadata that `save` wrote beside a .safetensors file.

    Raises:
      ValueError: there is no such file or it holds no JSON object.
    """
    return read_description(_safetensors_path(path).with_suffix(".json"), "the weights")


def read(path) -> tuple[dict[str, np.ndarray], str]:
    """The tensors of a .safetensors file by name, and the "format" that its header states ("" if none).

    Raises:
      ValueError: no such file, a pickle, a header that contradicts the file or names or types that no network has.
    """
    with _opened(path) as file:
        names = list(file.keys())
        _check_header(path, {name: file.get_slice(name).get_dtype() for name in names})
        return {name: file.get_tensor(name) for name in names}, (file.metadata() or {}).get("format", "")


def stated_format(path) -> str:
    """The "format" that the header of a .safetensors file states; "" if none.

    Raises:
      ValueError: as `read`.
    """
    with _opened(path) as file:
        return (file.metadata() or {}).get("format", "")


@contextlib.contextmanager
def _opened(path):
    path = file_of(path)
    try:
        with safetensors.safe_open(path, "np") as file:
            yield file
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error


def shapes(model, spec) -> dict[tuple[str, ...], jax.ShapeDtypeStruct]:
    """Path -> shape and type of every variable of a model for examples of these shapes, see `kdjax.types.batch_of`."""
    made = jax.eval_shape(model.init, jax.random.key(0), batch_of(spec, 1))
    return flax.traverse_util.flatten_dict(dict(made))


def own(path, tensors: dict, expected: dict) -> dict:
    """Variables from tensors that `save` wrote; `expected` are the model's `shapes`.

    Raises:
      ValueError: they are another model's, or hold numbers that no network has.
    """
    check_fit(path, tensors, expected)
    flat = {key: tensors[".".join(key)].astype(like.dtype) for key, like in expected.items()}
    for key, tensor in flat.items():
        check_values(path, ".".join(key), tensor, is_variance=key[-1] == "var")
    return flax.traverse_util.unflatten_dict(flat)


def check_values(path, name: str, tensor: np.ndarray, is_variance: bool) -> None:
    """Raises a ValueError if a tensor holds NaN or infinity, or as a running variance a number below 0."""
    if not np.isfinite(tensor.astype(np.float32)).all():
        raise ValueError(f"{path}: {name} holds numbers that are not finite")
    if is_variance and (tensor < 0).any():
        raise ValueError(f"{path}: {name} is a variance and holds numbers below 0, the least {tensor.min():g}")


def check_fit(path, tensors: dict, expected: dict) -> None:
    """Raises a ValueError if tensors, by names as params.conv.kernel, are not those of a model with these `shapes`."""
    names = {".".join(key): key for key in expected}
    check_names(path, missing=names.keys() - tensors.keys(), left_over=tensors.keys() - names.keys())
    check_shapes(path, [(name, tensors[name].shape, expected[key].shape) for name, key in names.items()])


def check_names(path, missing, left_over) -> None:
    """Raises a ValueError that names what a model lacks and what a file has to spare, if anything."""
    parts = [("missing", sorted(missing)), ("left over", sorted(left_over))]
    faults = [f"{what} ({len(names)}): {_some(names)}" for what, names in parts if names]
    if faults:
        raise ValueError(f"{path}: the weights are not this model's; {'; '.join(faults)}")


def check_shapes(path, triples) -> None:
    """Raises a ValueError with the first mismatches among (name, shape in the file, shape in the model), if any."""
    wrong = [
        f"{name} is {tuple(found)}, the model needs {tuple(needed)}"
        for name, found, needed in triples
        if found != needed
    ]
    if wrong:
        raise ValueError(f"{path}: {len(wrong)} tensors have another shape than the model's: {_some(wrong, '; ')}")


def _some(items, separator: str = ", ", most: int = 5) -> str:
    return separator.join(items[:most]) + (f"{separator}and {len(items) - most} more" if len(items) > most else "")


def _check_header(path, types: dict[str, str]) -> None:
    for name, dtype in types.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{path}: {name!r} is no name of a tensor; valid are letters, digits, _ and dots between")
        if dtype not in _READABLE:
            raise ValueError(f"{path}: {name} has type {dtype}; valid are {', '.join(_READABLE)}")


def file_of(path) -> Path:
    """The .safetensors file at a path; in a folder, as Hugging Face has them, its model.safetensors."""
    path = Path(path)
    return path / "model.safetensors" if path.is_dir() else _safetensors_path(path)


def _safetensors_path(path) -> Path:
    path = Path(path)
    if path.suffix == ".safetensors":
        return path
    if path.suffix in _PICKLES:
        raise ValueError(
            f"{path}: a pickle can run any code when it is opened, so it is not read; convert it once, with\n"
            f"  {conversion(path)}\nand give {path.with_suffix('.safetensors')}"
        )
    raise ValueError(f"{path}: weights are read from and written to .safetensors files")


def conversion(path: Path) -> str:
    """The shell command that turns a PyTorch checkpoint into safetensors, executing nothing of it (weights_only)."""
    code = (
        "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], 'cpu', weights_only=True); "
        "d = d.get('state_dict', d.get('model', d)); "
        "s.save_file({k: v.clone().contiguous() for k, v in d.items()}, sys.argv[2])"
    )
    return shlex.join(["python", "-c", code, str(path), str(path.with_suffix(".safetensors"))])
