"""WebDataset's tar files: samples of files with one key, `a/007.jpg` and `a/007.cls` or `a/007.json`."""

import json
import re
import tarfile
import zlib
from pathlib import Path

from kdjax.data.arrays import Dataset
from kdjax.data.images.listed import Image, dataset
from kdjax.data.text import splits
from kdjax.data.text.texts import label_of

SHARDS = (".tar", ".tar.gz", ".tgz")
IMAGES = ("jpg", "jpeg", "png")
LARGEST = 2**30
"""Bytes of a member above which it is refused: no photograph has them, and memory may not."""


def read(config, label: str) -> Dataset:
    """The data set in the folder config.data.path, or in one tar file; see `kdjax.data.sources.webdataset`.

    Args:
      label: the field of a sample's .json that names its class.

    Raises:
      ValueError: there are no shards, or samples cannot be used; those are named with their shards.
    """
    path = Path(config.path).expanduser()
    if not config.path or not path.exists():
        raise ValueError(f"config.data.path {config.path!r} is not there; it names a folder of shards, train-000.tar")
    shards = sorted(path.iterdir()) if path.is_dir() else [path]
    shards = [shard for shard in shards if shard.name.lower().endswith(SHARDS)]
    of = {shard: _split(shard) if path.is_dir() else None for shard in shards}
    if not shards or (path.is_dir() and "train" not in of.values()):
        there = ", ".join(shard.name for shard in shards) or "no .tar"
        raise ValueError(f"{str(path)!r} has no train-*.tar, only {there}; names of shards begin with their split")
    if strange := [shard.name for shard, split in of.items() if path.is_dir() and split is None]:
        raise ValueError(f"{str(path)!r}: {strange[0]} is of no split; names begin with train, val or test")
    images, problems = [], []
    for shard, split in of.items():
        _take(shard, split, label, images, problems)
    return dataset(config, images, problems, path.resolve().name.partition(".")[0])


def _split(shard: Path) -> str | None:
    """The split that a shard's name begins with: train-000123.tar."""
    return splits.named(re.split(r"[-_.]", shard.name)[0])


def _take(shard: Path, split: str | None, field: str, images: list, problems: list) -> None:
    """The samples of a shard enter `images`, and what is wrong with it `problems`."""
    samples = {}
    try:
        with tarfile.open(shard) as tar:
            for member in tar:
                folder, slash, base = member.name.rpartition("/")
                key, _, kind = base.partition(".")
                if not member.isfile() or not key or kind.lower() not in (*IMAGES, "cls", "json"):
                    continue
                sample = samples.setdefault(f"{folder}{slash}{key}", {})
                if kind.lower() in sample or member.size > LARGEST:
                    told = "stands there twice" if kind.lower() in sample else f"has {member.size:,} bytes"
                    problems.append(f"{shard.name}: {member.name!r} {told}")
                    continue
                sample[kind.lower()] = tar.extractfile(member).read()
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # Python takes any end for one
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        after = f" after {len(samples):,} samples" if samples else ""
        problems.append(f"{shard.name}: cannot be read as a tar file{after}: {error}")
        return
    for key, sample in samples.items():
        place = f"{shard.name}: {key}"
        found = [kind for kind in IMAGES if kind in sample]
        label, told = _label(sample, field)
        if len(found) == 1 and not told:
            images.append(Image(sample[found[0]], f"{place}.{found[0]}", label, split))
        else:
            problems.append(f"{place}: {told or f'{len(found)} images, and a sample has one, .jpg or .png'}")


def _label(sample: dict, field: str) -> tuple[str, str]:
    """(the name of a sample's class, "") or ("", what is wrong)."""
    if "cls" in sample:
        try:
            value = sample["cls"].decode("utf-8").strip()
        except UnicodeDecodeError:
            return "", "its .cls is no UTF-8"
        return (value, "") if value else ("", "its .cls is empty")
    if "json" not in sample:
        return "", "it has neither .cls nor .json, so no label"
    try:
        said = json.loads(sample["json"])
    except (ValueError, RecursionError) as error:
        return "", f"its .json is no JSON: {error}"
    value = label_of(said.get(field)) if isinstance(said, dict) else None
    has = f", only {', '.join(map(str, said))}" if isinstance(said, dict) else ""
    return (value, "") if value is not None else ("", f"its .json has no label {field!r}{has}")
