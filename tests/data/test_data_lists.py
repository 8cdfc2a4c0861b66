"""Images from lists: tables of paths, WebDataset's tars, .npz, Hugging Face's folders; what is wrong, with its line."""

import csv
import io
import json
import tarfile
import unicodedata

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import ipc, parquet

from kdjax import data
from kdjax.config import resolve

LABELS = ("cup", "lamp", "chair")


def config(**fields):
    made = resolve({"data": fields}).data
    made.image_size = fields.get("image_size", 8)
    return made


def png(label: str, number: int) -> bytes:
    """An image whose one colour is its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (50 * LABELS.index(label) + 10, number, 0)).save(buffer, "PNG")
    return buffer.getvalue()


SAMPLES = [
    (split, label, number)
    for split, count in (("train", 4), ("val", 2), ("test", 2))
    for label in LABELS
    for number in range(count)
]


@pytest.fixture
def photographs(tmp_path):
    """A folder of images, and the rows (path, label, split) that list them."""
    rows = []
    for split, label, number in SAMPLES:
        path = tmp_path / "photographs" / split / f"{label}{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(label, number + 10 * len(split)))
        rows.append({"path": f"{split}/{path.name}", "label": label, "split": split})
    return tmp_path / "photographs", rows


def write_csv(path, rows, names=("path", "label", "split")):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def load(source, path, **fields):
    return data.load(config(source=source, path=str(path), **fields))


def check(dataset, sizes=(12, 6, 6)):
    """Each image is of its class, and all are there."""
    assert sorted(dataset.classes) == sorted(LABELS)
    assert tuple(len(split) for split in dataset.splits.values()) == sizes
    for split in dataset.splits.values():
        of = [LABELS.index(dataset.classes[label]) for label in split.target]
        np.testing.assert_array_equal(split.input[:, 0, 0, 0], [50 * label + 10 for label in of])


# ---- tables of paths


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "folder"])
def test_tables_of_paths(photographs, form):
    folder, rows = photographs
    path = folder / f"list.{form}"
    if form == "csv":
        write_csv(path, rows)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.mkdir()
        for split in ("train", "val", "test"):
            write_csv(path / f"{split}.csv", [row for row in rows if row["split"] == split], ("path", "label"))
    kwargs = {"root": str(folder)} if form == "folder" else {}
    check(load("manifest", path, kwargs=kwargs))


def test_other_columns_absolute_paths_and_a_drawn_test_split(photographs):
    folder, rows = photographs
    renamed = [{"file": str(folder / row["path"]), "kind": row["label"], "product": row["path"][-8:]} for row in rows]
    path = write_csv(folder.parent / "other.csv", renamed, ("file", "kind", "product"))
    columns = {"label": "kind", "group": "product"}
    dataset = load("manifest", path, kwargs={"image": "file"}, columns=columns, test=0.25, validation=0.3)
    assert sum(map(len, dataset.splits.values())) == 24
    kind = [{tuple(image[0, 0] % (256, 10, 1)) for image in split.input} for split in dataset.splits.values()]
    assert not kind[0] & kind[2]  # photographs of one product are on one side


def test_it_is_read_from_disk_while_it_trains(photographs):
    folder, rows = photographs
    given = config(source="manifest", path=str(write_csv(folder / "list.csv", rows)))
    assert data.load(given, in_memory=False).train.input.decode().shape == (12, 8, 8, 3)


def changed(at, **fields):
    return lambda rows: rows[at].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(3, path="train/gone.png"), r"^list.csv, line 5: there is no image '.*photographs/train/gone.png'$"),
        (changed(3, path=""), r"^list.csv, line 5: 'path' is '', and should be the path of an image$"),
        (changed(3, label=""), r"^list.csv, line 5: the label 'label' is '', which names no class$"),
        (changed(3, split="tset"), r"^list.csv, line 5: 'split' is 'tset'; the splits are train, validation, test$"),
        (
            changed(-1, label="sofa"),
            r"list.csv, line 25: test/chair1.png: the class is 'sofa', which no training image",
        ),
        (
            changed(1, path="train/cup0.png", label="lamp"),
            r"line 3: train/cup0.png: its class is 'lamp', and in .* 'cup'",
        ),
        (
            changed(-1, path="train/cup0.png", label="cup"),
            r"line 25: train/cup0.png: it is of test, and in .* of train",
        ),
    ],
)
def test_rows_that_cannot_be_used_are_named(photographs, change, message):
    folder, rows = photographs
    change(rows)
    with pytest.raises(ValueError, match=message):
        load("manifest", write_csv(folder / "list.csv", rows))


def test_a_class_in_two_encodings(photographs):
    folder, rows = photographs
    for row, form in zip(rows[:2], ("NFC", "NFD"), strict=True):
        row["label"] = unicodedata.normalize(form, "café")
    with pytest.raises(ValueError, match=r"line 2: .* and list.csv, line 3: .*: the class .* composed \(NFC\)"):
        load("manifest", write_csv(folder / "list.csv", rows))


def test_all_that_is_wrong_is_one_message(photographs):
    folder, rows = photographs
    rows[0]["path"], rows[1]["label"] = "gone.png", ""
    (folder / "train/cup2.png").write_bytes(b"")
    with pytest.raises(ValueError) as error:
        load("manifest", write_csv(folder / "list.csv", rows))
    assert str(error.value).splitlines()[0] == "3 images cannot be used:"
    (folder / "train/cup2.png").write_bytes(b"no picture")
    rows[0]["path"], rows[1]["label"] = "train/cup0.png", "cup"
    with pytest.raises(ValueError, match=r"'list.csv, line 4: train/cup2.png': it is no JPEG or PNG"):
        load("manifest", write_csv(folder / "list.csv", rows))


def test_columns_and_files_that_are_not_there(photographs):
    folder, rows = photographs
    path = write_csv(folder / "list.csv", rows)
    with pytest.raises(ValueError, match=r"kwargs.image: list.csv has no column 'pth'; did you mean 'path'"):
        load("manifest", path, kwargs={"image": "pth"})
    with pytest.raises(ValueError, match=r"columns.label: list.csv has no column 'lable'; did you mean 'label'"):
        load("manifest", path, columns={"label": "lable"})
    with pytest.raises(ValueError, match=r"config.data.path '.*gone.csv' is not there"):
        load("manifest", folder / "gone.csv")
    with pytest.raises(ValueError, match=r"lists of images are .csv"):
        load("manifest", folder / "train/cup0.png")


# ---- WebDataset


def shard(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def members(split, by="cls"):
    for of, label, number in SAMPLES:
        if of == split:
            key = f"shop/{label}{number}"
            yield f"{key}.png", png(label, number)
            yield f"{key}.{by}", (label if by == "cls" else json.dumps({"label": label, "price": 3})).encode()
            yield f"{key}.txt", b"a caption"


@pytest.mark.parametrize("by", ["cls", "json"])
def test_shards(tmp_path, by):
    train = [*members("train", by)]
    shard(tmp_path / "train-000000.tar", train[:18])
    shard(tmp_path / "train-000001.tar.gz", train[18:], "w:gz")
    for split in ("val", "test"):
        shard(tmp_path / f"{split}-000000.tar", members(split, by))
    check(load("webdataset", tmp_path))


def test_one_shard_of_which_the_test_split_is_drawn(tmp_path):
    shard(tmp_path / "shop.tar", members("train"))
    check(load("webdataset", tmp_path / "shop.tar", test=0.25), (9, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop(1), r"train-0.tar: shop/cup0: it has neither .cls nor .json, so no label"),
        (lambda m: m.pop(0), r"train-0.tar: shop/cup0: 0 images, and a sample has one"),
        (lambda m: m.append(m[0]), r"train-0.tar: 'shop/cup0.png' stands there twice"),
        (lambda m: m.__setitem__(1, ("shop/cup0.json", b"{")), r"train-0.tar: shop/cup0: its .json is no JSON"),
        (lambda m: m.__setitem__(1, ("shop/cup0.json", b'{"klass": 1}')), r"has no label 'label', only klass"),
        (lambda m: m.__setitem__(0, ("shop/cup0.png", b"x")), r"'train-0.tar: shop/cup0.png': it is no JPEG or PNG"),
        (lambda m: m.__setitem__(0, ("shop/cup0.png", b"")), r"train-0.tar: shop/cup0.png: the file is empty"),
    ],
)
def test_samples_that_cannot_be_used_are_named(tmp_path, change, message):
    train = [*members("train")]
    change(train)
    shard(tmp_path / "train-0.tar", train)
    shard(tmp_path / "test-0.tar", members("test"))
    with pytest.raises(ValueError, match=message):
        load("webdataset", tmp_path)


def test_shards_that_are_cut_short_or_of_no_split(tmp_path):
    shard(tmp_path / "train-0.tar", members("train"))
    shard(tmp_path / "test-0.tar", members("test"))
    whole = (tmp_path / "train-0.tar").read_bytes()
    for size in (600, 1024, 2100, len(whole) // 2):  # in a member, and between two
        (tmp_path / "train-0.tar").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"train-0.tar: cannot be read as a tar file.*: unexpected end"):
            load("webdataset", tmp_path)
    (tmp_path / "train-0.tar").rename(tmp_path / "trian-0.tar")
    with pytest.raises(ValueError, match=r"has no train-\*.tar, only test-0.tar, trian-0.tar"):
        load("webdataset", tmp_path)


# ---- NumPy


def arrays(names=("train", "val", "test"), form="{}_images {}_labels"):
    found = {}
    for split, (image, label) in zip(("train", "val", "test"), (form.format(n, n).split() for n in names), strict=True):
        own = [(LABELS.index(name), number) for of, name, number in SAMPLES if of == split]
        found[image] = np.stack([np.full((8, 8, 3), (50 * k + 10, n, 0), np.uint8) for k, n in own])
        found[label] = np.array([k for k, _ in own])
    return found


def test_arrays_named_as_in_medmnist_and_keras(tmp_path):
    np.savez(tmp_path / "medmnist.npz", classes=np.array(LABELS), **arrays())
    check(load("npz", tmp_path / "medmnist.npz"))
    np.savez_compressed(tmp_path / "keras.npz", **arrays(form="x_{} y_{}"))
    dataset = load("npz", tmp_path / "keras.npz")
    assert dataset.classes == ("0", "1", "2")
    alone = {name: value for name, value in arrays().items() if "train" in name}
    alone |= {"train_images": alone["train_images"][..., 0], "train_labels": alone["train_labels"][:, None]}
    np.savez(tmp_path / "grey.npz", **alone)
    dataset = load("npz", tmp_path / "grey.npz", test=0.25, mean=(0.5,), std=(0.5,))
    assert [split.input.shape for split in dataset.splits.values()] == [(9, 8, 8, 1), (3, 8, 8, 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((12, 8, 8, 3))}, r"a.npz, train_images: images are uint8 .* got float64"),
        ({"train_labels": np.zeros(11, int)}, r"a.npz, train_labels: a whole number for each of the 12 images"),
        ({"train_labels": np.array(["a"] * 12, object)}, r"cannot read '.*a.npz' as arrays: Object arrays"),
        ({"test_labels": np.array([0, 1, 2, 9, 0, 1])}, r"a.npz: test label 3 is 9, and the classes are 0 to 2"),
        ({"train_labels": None}, r"a.npz has train_images and no train_labels"),
        ({"train_images": None}, r"a.npz has no train_images and train_labels nor x_train and y_train"),
        ({"classes": np.array(["a", "a", "b"])}, r"a.npz, classes: different texts"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, change, message):
    kept = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    np.savez(tmp_path / "a.npz", **kept)
    with pytest.raises(ValueError, match=message):
        load("npz", tmp_path / "a.npz")


# ---- Hugging Face


def features(**columns):
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


IMAGES = features(image={"_type": "Image"}, label={"_type": "ClassLabel", "names": list(LABELS)})


def table(split, **change):
    rows = [
        {"image": {"bytes": png(label, number), "path": None}, "label": LABELS.index(label)}
        for of, label, number in SAMPLES
        if of == split
    ]
    for at, row in change.items():
        rows[int(at[1:])] = row
    return pyarrow.Table.from_pylist(rows).replace_schema_metadata(IMAGES)


def saved(folder, parts: dict):
    """As DatasetDict.save_to_disk writes it."""
    for split, part in parts.items():
        (folder / split).mkdir(parents=True)
        name = "data-00000-of-00001.arrow"
        with ipc.new_stream(folder / split / name, part.schema) as file:
            file.write_table(part)
        (folder / split / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [*parts]}))
    return folder


def test_what_save_to_disk_wrote(tmp_path):
    folder = saved(tmp_path / "shop", {"train": table("train"), "validation": table("val"), "test": table("test")})
    dataset = load("huggingface", folder)
    check(dataset)
    assert dataset.classes == LABELS  # in the order of the ClassLabel, not of the alphabet
    check(load("huggingface", folder / "train", test=0.25), (9, 3))
    other = saved(tmp_path / "other", {"all": table("train"), "unseen": table("test")})
    check(load("huggingface", other, kwargs={"train": "all", "test": "unseen"}), (12, 6))


def test_parquet_files_of_a_hub_folder(tmp_path):
    (tmp_path / "data").mkdir()
    whole = table("train")
    for number in range(2):
        parquet.write_table(whole.slice(6 * number, 6), tmp_path / f"data/train-{number:05}-of-00002.parquet")
    parquet.write_table(table("test"), tmp_path / "data/test-00000-of-00001-0af3.parquet")
    check(load("huggingface", tmp_path), (12, 6))


def test_texts_of_hugging_face(tmp_path):
    notes = features(text={"_type": "Value"}, label={"_type": "ClassLabel", "names": ["bad", "good"]})
    rows = [{"text": f"{'good' if n % 2 else 'bad'} thing number {n}", "label": n % 2} for n in range(20)]
    part = pyarrow.Table.from_pylist(rows).replace_schema_metadata(notes)
    dataset = load("huggingface", saved(tmp_path / "reviews", {"train": part, "test": part}), image_size=0)
    assert (dataset.kind, dataset.classes) == ("text", ("bad", "good"))
    assert dataset.train.target.tolist() == [n % 2 for n in range(20)]


def test_rows_of_hugging_face_that_cannot_be_used(tmp_path):
    none = {"image": {"bytes": None, "path": "gone.png"}, "label": 0}
    folder = saved(tmp_path / "a", {"train": table("train", r1=none), "test": table("test")})
    with pytest.raises(ValueError, match=r"^train, row 2: there is no image 'gone.png'$"):
        load("huggingface", folder)
    folder = saved(
        tmp_path / "b",
        {"train": table("train", r1={**none, "label": -1, "image": {"bytes": b"x"}}), "test": table("test")},
    )
    with pytest.raises(ValueError, match=r"^train, row 2: the label 'label' is -1, which names no class$"):
        load("huggingface", folder)
    with pytest.raises(ValueError, match=r"columns.label: there is no column 'lable'; did you mean 'label'"):
        load("huggingface", folder, columns={"label": "lable"})
    with pytest.raises(ValueError, match=r"kwargs.test: .* has no split 'tset'; did you mean 'test'"):
        load("huggingface", folder, kwargs={"test": "tset"})
    with pytest.raises(ValueError, match=r"holds no data set of Hugging Face"):
        load("huggingface", tmp_path)
    (folder / "train/data-00000-of-00001.arrow").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"cannot read '.*data-00000-of-00001.arrow'"):
        load("huggingface", folder)


def test_what_the_library_itself_saves(tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs Hugging Face's datasets, which writes what is read here")
    parts = {}
    for split in ("train", "test"):
        own = [(label, number) for of, label, number in SAMPLES if of == split]
        made = {"image": [{"bytes": png(*one)} for one in own], "label": [LABELS.index(label) for label, _ in own]}
        kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(LABELS))}
        parts[split] = datasets.Dataset.from_dict(made, features=datasets.Features(kinds))
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "shop"))
    dataset = load("huggingface", tmp_path / "shop")
    check(dataset, (12, 6))
    assert dataset.classes == LABELS
    parts["train"].shuffle(seed=0).select(range(9)).save_to_disk(str(tmp_path / "part"))
    assert sum(map(len, load("huggingface", tmp_path / "part", test=0.34).splits.values())) == 9
    (tmp_path / "hub").mkdir()
    for split, part in parts.items():
        part.to_parquet(str(tmp_path / f"hub/{split}-00000-of-00001.parquet"))
    check(load("huggingface", tmp_path / "hub"), (12, 6))
