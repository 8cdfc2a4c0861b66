"""Weights of PyTorch networks for the Linen networks of the same architecture, by rules.

The networks of kdjax.models name their layers as the torch networks do, so that five rules suffice:

1. `layer1.0.conv1.weight` belongs to `params/layer1_0/conv1/kernel`: dots and underscores are one.
2. The last layer is `classifier`, whether the file calls it fc, linear, head, head.fc, classifier or, with the highest
   number among several, classifier.3; the projection of a residual block is `downsample` or `shortcut`; a prefix
   `module.` of all names is dropped.
3. Convolutions turn from OIHW to HWIO and dense layers from [out, in] to [in, out]. Where a network flattens images, it
   does so channel by channel as torch does (layers.flatten), so no rows need to be moved.
4. `weight` of a normalisation is `scale`; running_mean and running_var are `batch_stats`; num_batches_tracked counts
   training steps and has no counterpart.

5. Of Hugging Face's BERT the prefix `bert.` is dropped, gamma and beta of old files are weight and bias, and what the
   model has no use for is left: `pooler`, `cls` (heads of pretraining) and `position_ids`.

Imported networks predict what the torch networks predict. Trained further they take the same steps, and BatchNorm's
statistics move on from the imported ones by 0.1 a step as in torch, with one difference: the variance that is kept is
the biased one of a batch, as everywhere in Flax, where torch keeps n / (n - 1) times as much; after some tens of steps
nothing of the imported one is left. `unbiased_variance=True` among the network's arguments keeps torch's.

Names known to follow them: RepDistiller and akamaster/pytorch_resnet_cifar10 (CIFAR), torchvision (ImageNet), timm and
DeiT (Vision Transformers, EfficientNet-Lite, ConvNeXt), and Hugging Face's BertModel and BertForSequenceClassification.
"""

import re
from pathlib import Path

import flax.linen as nn
import flax.traverse_util
import numpy as np

from kdjax.models import weights
from kdjax.models.capture import bare
from kdjax.models.ranking.encoders import BiEncoder, CrossEncoder
from kdjax.models.text import huggingface

_LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "mean": "running.mean", "var": "running.var"}
_COUNTERS = ("num_batches_tracked", "position_ids")
"""Names of buffers that are no weights."""
_OLD = {"gamma": "weight", "beta": "bias"}
_OTHER_HEADS = ("pooler.", "cls.")
"""Canonical names of what a BERT brings along for other tasks begin so."""


def load(path, model: nn.Module, spec) -> dict:
    """Variables {"params": ..., "batch_stats": ...} of a model from a .safetensors file of torch or of kdjax's export.

    Args:
      path: of the file, or of a folder of Hugging Face's.
      model: a Linen module.
      spec: the shapes of one example, see `kdjax.types.batch_of`.

    Raises:
      ValueError: the file is a pickle (with the command that converts it) or is damaged; tensors are missing, left
        over, of another shape or not finite (with their names); a folder's config.json has other sizes than the model.
    """
    model = bare(model)
    if isinstance(model, BiEncoder) and weights.stated_format(path) != weights.FORMAT:  # it is encoders, no more
        return load_body(path, model, spec)
    if Path(path).is_dir():
        huggingface.check(path, model)
    tensors, format_ = weights.read(path)
    expected = weights.shapes(model, spec)
    if format_ == weights.FORMAT:
        return weights.own(path, tensors, expected)
    names = _canonical_names(path, tensors)
    wanted = {_canonical_path(key): key for key in expected}
    missing = {_torch_name(wanted[name]) for name in wanted.keys() - names.keys()}
    spare = {name for name in names.keys() - wanted.keys() if not name.startswith(_OTHER_HEADS)}
    weights.check_names(path, missing, {names[name] for name in spare})
    pairs = {key: names[name] for name, key in wanted.items()}
    weights.check_shapes(
        path, [(n, tensors[n].shape, _torch_shape(expected[key].shape, key)) for key, n in pairs.items()]
    )
    flat = {key: _convert(path, name, tensors[name], key) for key, name in pairs.items()}
    return flax.traverse_util.unflatten_dict(flat)


def load_body(path, model: nn.Module, spec) -> dict:
    """Variables as of `load`, without the classifier's: for a model that tells other classes apart than the file's.

    Those of a network made of encoders of texts (kdjax.models.ranking.encoders) are the file's encoder in each of them.

    Raises:
      ValueError: as `load`, or the file has a classifier without a bias.
    """
    model = bare(model)
    if isinstance(model, BiEncoder | CrossEncoder):
        body = load_body(path, model.encoder, spec["query"])["params"]
        return {"params": dict.fromkeys(model.towers, body)}
    tensors, format_ = weights.read(path)
    names = {name.removeprefix("params."): name for name in tensors}
    names = names if format_ == weights.FORMAT else _canonical_names(path, tensors)
    if "classifier.bias" not in names and any(name.startswith("classifier.") for name in names):
        raise ValueError(f"{path}: the classifier has no bias, so its number of classes is not known")
    classes = len(tensors[names["classifier.bias"]]) if "classifier.bias" in names else 0
    variables = load(path, model.clone(num_classes=classes), spec)
    return {**variables, "params": {name: tree for name, tree in variables["params"].items() if name != "classifier"}}


def _canonical_names(path, tensors) -> dict[str, str]:
    """Canonical name -> name in the file."""
    names = [name for name in tensors if name.rpartition(".")[2] not in _COUNTERS]
    prefix = "module." if names and all(name.startswith("module.") for name in names) else ""
    classifier = _classifier({name.removeprefix(prefix) for name in names})
    result = {}
    for name in names:
        canonical = classifier.sub("classifier.", name.removeprefix(prefix).removeprefix("bert."))
        canonical = re.sub(r"LayerNorm\.(gamma|beta)$", lambda old: f"LayerNorm.{_OLD[old[1]]}", canonical)
        canonical = canonical.replace("_", ".").replace(".shortcut.", ".downsample.")
        if canonical in result:
            raise ValueError(f"{path}: {result[canonical]} and {name} are both taken for {canonical}")
        result[canonical] = name
    return result


def _classifier(names: set[str]) -> re.Pattern:
    """What the names of the last layer's tensors begin with, in a file that holds `names`."""
    numbers = [int(match[1]) for name in names if (match := re.match(r"classifier\.(\d+)\.", name))]
    last = rf"(\.{max(numbers)})?" if numbers and "classifier.weight" not in names else ""
    return re.compile(rf"^(fc|linear|head(\.fc)?|classifier{last})\.(?=(weight|bias)$)")


def _canonical_path(key: tuple[str, ...]) -> str:
    """("params", "layer1_0", "conv1", "kernel") -> "layer1.0.conv1.weight"."""
    return ".".join([*(part.replace("_", ".") for part in key[1:-1]), _LEAVES.get(key[-1], key[-1].replace("_", "."))])


def _torch_name(key) -> str:
    """A variable's path as a name for messages: `layer1.0.bn1.running_mean`."""
    return _canonical_path(key).replace("running.", "running_")


def _axes(rank: int, leaf: str) -> tuple[int, ...]:
    """The transposition that makes a torch tensor a Linen one."""
    return {4: (2, 3, 1, 0), 2: (1, 0)}[rank] if leaf == "kernel" else tuple(range(rank))


def _torch_shape(shape, key) -> tuple[int, ...]:
    axes = _axes(len(shape), key[-1])
    return tuple(shape[axes.index(i)] for i in range(len(shape)))


def _convert(path, name, tensor, key):
    if tensor.dtype.kind in "biu":
        raise ValueError(f"{path}: {name} holds {tensor.dtype}, not floating-point numbers")
    tensor = tensor.astype(np.float32)
    weights.check_values(path, name, tensor, is_variance=key[-1] == "var")
    return np.asarray(tensor.transpose(_axes(tensor.ndim, key[-1])), order="C")
