"""config.teacher.onnx: a network in an ONNX file, run by onnxruntime on the host."""

import json
from pathlib import Path

import jax
import numpy as np

from kdjax.cores import cores
from kdjax.data import fingerprint
from kdjax.experiment.elsewhere import Elsewhere, checked
from kdjax.models.given import given
from kdjax.types import Outputs

TOKENS = {
    "tokens": ("tokens", "input_ids"),
    "mask": ("mask", "attention_mask"),
    "segments": ("segments", "token_type_ids"),
}
"""What an example of a text has -> the names that a file may have for it."""

TYPES = {
    **{"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64},
    **{"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_, "tensor(uint8)": np.uint8},
}


class Network:
    """A session of onnxruntime, called with inputs as kdjax has them.

    Images are [B, H, W, C], and turned to [B, C, H, W] where the file takes that. One that takes uint8, as those of
    `kdjax export`, gets pixels 0..255, others what is normalised.
    """

    def __init__(self, path: str, data, logits: int):
        """`data`: config.data as the teacher sees it, whose mean and std give pixels back."""
        self.path, self.data, self.logits = path, data, logits
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, cores()
        try:
            self.session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no base class
            raise ValueError(f"{path} cannot be read as ONNX: {str(error).splitlines()[0]}") from error
        names = [output.name for output in self.session.get_outputs()]
        self.takes = self.session.get_inputs()
        self.gives = {"logits": "logits" if "logits" in names else names[0]}
        self.gives |= {"embedding": "embedding"} if "embedding" in names else {}

    def described(self) -> dict:
        """Classes and shape of the images that it was trained on, as far as `kdjax export` has written them there."""
        told = self.session.get_modelmeta().custom_metadata_map
        known = {}
        for name in ("classes", "image_shape"):
            try:
                known[name] = json.loads(told[name])
            except (KeyError, ValueError):
                continue
        return known

    def __call__(self, inputs) -> Outputs:
        size = len(jax.tree.leaves(inputs)[0])
        given = {taken.name: self._given(taken, inputs) for taken in self.takes}
        step = self.takes[0].shape[0]  # a number where it was exported for batches of one size
        step = step if isinstance(step, int) else size
        parts = [self._run(given, start, step) for start in range(0, size, step)]
        joined = [np.concatenate(each)[:size] for each in zip(*parts, strict=True)]
        return checked(Outputs(**dict(zip(self.gives, joined, strict=True))), size, self.logits)

    def _run(self, given: dict, start: int, step: int) -> list[np.ndarray]:
        part = {name: leaf[start : start + step] for name, leaf in given.items()}
        filled = {name: np.pad(x, ((0, step - len(x)), *[(0, 0)] * (x.ndim - 1)), "edge") for name, x in part.items()}
        try:
            return self.session.run(list(self.gives.values()), filled)
        except Exception as error:  # its errors share no base class
            raise ValueError(f"{self.path} fails: {str(error).splitlines()[0]}") from error

    def _given(self, taken, inputs) -> np.ndarray:
        """The array that an input of the file gets."""
        if taken.type not in TYPES:
            raise ValueError(f"{self.path}: its input {taken.name!r} is a {taken.type}; known are {', '.join(TYPES)}")
        if not isinstance(inputs, dict):
            if len(self.takes) > 1:
                names = ", ".join(each.name for each in self.takes)
                raise ValueError(f"{self.path} takes {names}, and an example has one array")
            return self._array(taken, inputs).astype(TYPES[taken.type])
        name = next((ours for ours, theirs in TOKENS.items() if taken.name in theirs), taken.name)
        if name == "segments" and name not in inputs:
            return np.zeros(inputs["tokens"].shape, TYPES[taken.type])
        if name not in inputs:
            raise ValueError(f"{self.path} takes {taken.name!r}, and examples have {', '.join(inputs)}")
        return inputs[name].astype(TYPES[taken.type])

    def _array(self, taken, image: np.ndarray) -> np.ndarray:
        if image.ndim != 4:
            return image
        if taken.type == "tensor(uint8)":
            mean, std = (np.asarray(self.data[name], np.float32) for name in ("mean", "std"))
            image = np.clip(np.round((image * std + mean) * 255), 0, 255)
        last, first = (_fits(taken.shape, shape) for shape in (image.shape, np.moveaxis(image, 3, 1).shape))
        if last == first:
            told = "does not say where its channels are" if last else "is another"
            raise ValueError(
                f"{self.path} takes images of shape {taken.shape}, which {told}: here they are {list(image.shape[1:])},"
                " height, width and channels; config.teacher.image_size is the size that the teacher sees, and "
                "config.teacher.function calls a file in any way"
            )
        return image if last else np.ascontiguousarray(np.moveaxis(image, 3, 1))


def _fits(stated, shape) -> bool:
    """Whether images [B, ...] have the shape that a file states, in which names stand for any size."""
    return len(stated) == len(shape) and all(
        not isinstance(size, int) or size == own for size, own in zip(stated[1:], shape[1:], strict=True)
    )


def _runtime():
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError("this needs onnxruntime: pip install 'kdjax[export]'") from error
    return onnxruntime


def load(path: str, examples, data, logits: int) -> tuple[Elsewhere, dict]:
    """(the teacher in a file, what the file says of it), tried on some inputs as it sees them.

    Raises:
      ValueError: it cannot be read, takes something else, or gives what cannot teach.
    """
    digest = fingerprint.of_file(path)
    network = Network(path, data, logits)
    return Elsewhere(Path(path).name, digest, given(network(examples)), network), network.described()
