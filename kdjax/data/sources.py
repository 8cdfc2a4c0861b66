"""Where examples come from: fn(config.data, **config.data.kwargs) -> Dataset. `kdjax.data.load` finds one by its name.

Keyword-only arguments of a source, one's own too, are what config.data.kwargs may hold: all others are refused.
Splits may hold `images.Encoded`, or `text.texts.Texts`, of which `load` makes numbers once it has taken the subsets
that the config asks for.
"""

import os
from pathlib import Path

import numpy as np

from kdjax.data import folder as folders
from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.images.encoded import Encoded
from kdjax.data.subsets import split


def digits(config) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8x8 pixels in 17 grey levels, part of that package.

    A fixed stratified fifth (359) is the test split.
    """
    from sklearn.datasets import load_digits  # takes a second to import

    data = load_digits()
    image = np.round(data.images * (255 / 16)).astype(np.uint8)[..., None]
    whole = Arrays(image, data.target.astype(np.int32))
    train, test = split(whole, len(whole) // 5)
    return Dataset(train, None, test, tuple(str(digit) for digit in range(10)), "Digits 8x8")


def diabetes(config) -> Dataset:
    """scikit-learn's 442 patients: ten numbers each, and how far their diabetes went in a year, 0.25 to 3.46.

    For config.task='regression'. A fixed fifth (88) is the test split; numbers are standardised by the means and
    deviations of the others. Efron et al. 2004, "Least angle regression".
    """
    from sklearn.datasets import load_diabetes  # takes a second to import

    data = load_diabetes(scaled=False)
    whole = Arrays(data.data.astype(np.float32), (data.target / 100).astype(np.float32))
    train, test = split(whole, len(whole) // 5, np.zeros(len(whole), np.int64))
    mean, std = train.input.mean(0), train.input.std(0)
    train, test = (Arrays((part.input - mean) / std, part.target) for part in (train, test))
    return Dataset(train, None, test, (), "Diabetes", kind="numbers")


def generated(config, *, shape=(8, 8, 1), classes=10, train=512, test=128, noise=64.0, seed=0) -> Dataset:
    """Noise around one random pattern a class, for tests and benchmarks."""
    if min(*shape, classes, train, test) < 1 or min(noise, seed) < 0:
        raise ValueError("config.data.kwargs: shape, classes, train and test must be >= 1, noise and seed >= 0")
    rng = np.random.default_rng(seed)
    patterns = rng.uniform(0, 255, (classes, *shape))

    def arrays(examples):
        label = rng.permutation(np.arange(examples, dtype=np.int32) % classes)
        image = patterns[label] + rng.normal(0, noise, (examples, *shape))
        return Arrays(np.clip(image, 0, 255).astype(np.uint8), label)

    names = tuple(f"class {c}" for c in range(classes))
    return Dataset(arrays(train), None, arrays(test), names, f"generated {'x'.join(map(str, shape))}")


def folder(config) -> Dataset:
    """Images in <config.path>/{train,val,test}/<class>/*, JPEG or PNG; see `kdjax.data.folder`."""
    listings, classes, warnings = folders.list_folder(config.path)

    def arrays(listing):
        paths = np.array([*listing.paths, None], object)[:-1]  # None: keeps numpy from looking into the paths
        names = np.array([str(path) for path in listing.paths], object)
        return Arrays(Encoded(paths, names, config.image_size), folders.labels(listing, classes))

    splits = {name: arrays(listing) for name, listing in listings.items()}
    name = Path(config.path).expanduser().resolve().name
    return Dataset(splits["train"], splits.get("val"), splits["test"], classes, name, warnings)


def manifest(config, *, image="path", root="", train="", validation="", test="") -> Dataset:
    """Images that the rows of a CSV, TSV, JSONL or Parquet file list: columns path and label, and perhaps split.

    config.data.path is one file, of which a column `split` (or config.data.columns.split) says the splits, or
    config.data.test is drawn; or a folder with train.csv, test.csv and perhaps validation.csv. Paths are those of
    JPEG or PNG files, relative to the list or to `root`; `image` names their column, config.data.columns.label that
    of classes, and config.data.columns.group one whose images are drawn to one side of a split.
    """
    from kdjax.data.images.manifest import read

    return read(config, image, root, {"train": train, "validation": validation, "test": test})


def webdataset(config, *, label="label") -> Dataset:
    """Images in WebDataset's tar files: samples `key.jpg` with `key.cls`, or `key.json` with a field `label`.

    config.data.path is a folder of train-*.tar, test-*.tar and perhaps val-*.tar (also .tar.gz), or one tar file, of
    which config.data.test is drawn.
    """
    from kdjax.data.images.webdataset import read

    return read(config, label)


def npz(config) -> Dataset:
    """Images and labels as NumPy arrays in one .npz file, named as in MedMNIST or Keras.

    train_images [N, H, W] or [N, H, W, C] uint8, train_labels [N], the same of val and test (or x_train, y_train,
    ...), and perhaps classes, the names [K]. Without a test split config.data.test is drawn.
    """
    from kdjax.data.images.npz import read

    return read(config)


def huggingface(config, *, image="", train="", validation="", test="") -> Dataset:
    """A data set of Hugging Face on disk: of Dataset.save_to_disk, or a folder of its Parquet files.

    Read with pyarrow. `image` is the column of images, the only one that there is when left out; where there is none
    config.data.columns names those of texts. config.data.columns.label is a ClassLabel, or any column of classes. The
    splits are those that it has under usual names, or as the arguments name them; without test, config.data.test is
    drawn.
    """
    from kdjax.data.huggingface import read

    return read(config, image, {"train": train, "validation": validation, "test": test})


def tfds(config, *, train="train", validation="", test="") -> Dataset:
    """A data set that TensorFlow Datasets has prepared as array_record; read without TensorFlow.

    It is looked for in config.path, else in the folder that the environment variable TFDS_DATA_DIR names, else in
    ~/tensorflow_datasets. The splits are "train", "validation" and "test" where no others are named ("train[:90%]").
    Where the labels of "test" are withheld, or there is none, "validation" serves as the test split.

    Raises:
      ValueError: it is not there, in another format, or not for classification.
    """
    from kdjax.data.images.tfds import read

    data_dir = config.path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    named = {"train": train, "validation": validation, "test": test}
    return read(config.name, Path(data_dir).expanduser(), config.image_size, named)


# ---- texts


def queries(config, *, train=8000, test=2000, misspelt=0.03, seed=0) -> Dataset:
    """Made up queries of a shop, whose category two nouns and their order decide; see `kdjax.data.text.queries`."""
    if min(train, test) < 1 or seed < 0 or not 0 <= misspelt <= 1:
        raise ValueError("config.data.kwargs: train and test must be >= 1, seed >= 0, misspelt a fraction")
    from kdjax.data.text.queries import generate

    return generate(train, test, misspelt, seed)


def csv(config, *, train="", validation="", test="") -> Dataset:
    """Texts in the columns of comma-separated files; config.data.columns names those of text and label.

    config.data.path is one file, of which config.data.columns.split says the splits, or config.data.test is drawn; or
    a folder with train.csv, test.csv and perhaps validation.csv (or val, dev), or as the arguments name them.
    """
    return _table(config, "csv", train, validation, test)


def tsv(config, *, train="", validation="", test="") -> Dataset:
    """The same of tab-separated files (.tsv, .txt), in which a quote is a character as others."""
    return _table(config, "tsv", train, validation, test)


def jsonl(config, *, train="", validation="", test="") -> Dataset:
    """The same of files with a JSON object {column: value} a line."""
    return _table(config, "jsonl", train, validation, test)


def parquet(config, *, train="", validation="", test="") -> Dataset:
    """The same of parquet files."""
    return _table(config, "parquet", train, validation, test)


def _table(config, form: str, train: str, validation: str, test: str) -> Dataset:
    from kdjax.data.text import tables

    return tables.read(config, form, {"train": train, "validation": validation, "test": test})


def text_folder(config) -> Dataset:
    """Texts in <config.path>/{train,val,test}/<class>/*.txt, one a file, UTF-8."""
    from kdjax.data.text.folder import read

    return read(config.path)


def tfds_text(config, *, train="train", validation="", test="") -> Dataset:
    """As `tfds`, of a data set of texts, glue/sst2 or imdb_reviews; config.data.columns names its features."""
    from kdjax.data.text.tfds import read

    data_dir = config.path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    named = {"train": train, "validation": validation, "test": test}
    return read(config, Path(data_dir).expanduser(), named)


# ---- ranked lists


def searches(config, *, train=400, test=1000, items=20, noise=1.0, seed=0) -> Dataset:
    """Made up searches of a shop with up to `items` products each, graded 0 to 4; see `kdjax.data.ranking.searches`.

    For config.task='ranking'. Of the 20 features of a product the last four are what shoppers did, which a network with
    seen=16 does not see.
    """
    if min(train, test) < 1 or items < 2 or min(noise, seed) < 0:
        raise ValueError("config.data.kwargs: train and test must be >= 1, items >= 2, noise and seed >= 0")
    from kdjax.data.ranking.searches import generate

    return generate(train, test, items, noise, seed)


def letor(config, *, train="", validation="", test="") -> Dataset:
    """Queries in files of learning to rank, `grade qid:7 1:0.3 2:1.5` a line: LETOR, MSLR-WEB, Istella, libsvm.

    For config.task='ranking'. config.data.path is a folder with train.txt, test.txt and perhaps vali.txt, or as the
    arguments name them; see `kdjax.data.ranking.letor`.
    """
    from kdjax.data.ranking.letor import read

    return read(config.path, {"train": train, "validation": validation, "test": test})


# ---- searches: texts of queries and of documents, for config.task='search' or 'ranking'


def query_documents(config, *, relevant=4, negatives=0, least=1) -> Dataset:
    """Queries and documents as texts, a judgment a row of a csv, tsv, jsonl or parquet file, config.data.path.

    For config.task='search' (a query finds its documents in the whole catalogue) or 'ranking' (their order).
    config.data.columns: `text` is the query, `second` the document, `label` the relevance ("": every row is relevant),
    `group` tells queries of one text apart, `split` says the split, which is drawn of the queries otherwise, of those
    with at least `least` relevant documents. A training list has at most `relevant` documents with a relevance above 0
    and `negatives` others; see `kdjax.data.search.judged`.
    """
    from kdjax.data.search import judged, table

    return table.read(config, judged.Draw(relevant, negatives, least))


def trec(
    config,
    *,
    queries="queries.tsv",
    documents="documents.tsv",
    train="qrels.txt",
    validation="",
    test="",
    run="",
    relevant=4,
    negatives=0,
    least=1,
) -> Dataset:
    """The same of TREC's files in a folder: judgments (qrels) a split, texts as `id <tab> text`, perhaps a run.

    With one file of judgments its queries are split as those of `query_documents`. The documents that a `run` found
    for a query stand in its list, too, with grade 0 where they were not judged.
    """
    from kdjax.data.search import judged
    from kdjax.data.search import trec as files

    named = {"train": train, "validation": validation, "test": test}
    return files.read(config, named, queries, documents, run, judged.Draw(relevant, negatives, least))


def wands(config, *, fields="product_name", relevant=4, negatives=4, least=1) -> Dataset:
    """Wayfair's searches, query.csv, product.csv and label.csv in a folder: Exact is grade 2, Partial 1, Irrelevant 0.

    `fields` are the columns of product.csv whose texts are a document: several, joined by +, stand one after the other.
    Queries are split as those of `query_documents`.
    """
    from kdjax.data.search import judged, shops

    return shops.wands(config, tuple(fields.split("+")), judged.Draw(relevant, negatives, least))


def esci(config, *, fields="product_title", locale="us", small=True, relevant=4, negatives=4, least=1) -> Dataset:
    """Amazon's searches in the two parquet files of ESCI: grades 1, 0.1, 0.01 and 0 for E, S, C and I, its gains.

    The catalogue is the products of a `locale` that were judged; `small` is the version with the harder queries.
    `fields` as those of `wands`. Of the training queries config.data.validation is drawn.
    """
    from kdjax.data.search import judged, shops

    return shops.esci(config, tuple(fields.split("+")), locale, small, judged.Draw(relevant, negatives, least))


# ---- interactions of users and items, for config.task='recommendation'


def shoppers(
    config, *, users=600, items=400, mean=20, dimensions=16, split="leave_one_out", length=20, seed=0
) -> Dataset:
    """Made up shoppers and what they took, one thing after another; see `kdjax.data.interactions.generate`.

    Of each shopper `mean` items on average, a taste in so many dimensions; `split` and `length` as of `interactions`.
    """
    if min(users, items - 1, dimensions, length) < 1 or mean < 5 or seed < 0:
        raise ValueError("config.data.kwargs: users, dimensions and length are >= 1, items >= 2, mean >= 5, seed >= 0")
    from kdjax.data.interactions import arrays, generate, splits

    made = generate.generate(users, items, mean, dimensions, seed)
    parts = splits.parts(made, split, config.validation, config.test, config.split_seed)
    return arrays.dataset(parts, length, "Shoppers (generated)")


def interactions(config, *, split="leave_one_out", length=50, least_rating=0.0, core=0) -> Dataset:
    """Who took what: `user item [rating] [time]` a line, .inter, or csv; config.data.path is a file, or a folder.

    A folder holds a file for each split (train, valid, test). Of one file `split` says how it is split: leave_one_out
    (each user's last item is the test; with config.data.validation above 0 the one before it is the validation split),
    time (what comes after one moment is the test, config.data.test of all), ratio (of each user's items that fraction,
    drawn). Ties in time are ordered by a hash of config.data.split_seed. Interactions rated below `least_rating` are
    left out, then users and items with fewer than `core` of each other; `length` is the number of items of a history.
    """
    if length < 1 or core < 0:
        raise ValueError(f"config.data.kwargs: length is at least 1, core at least 0, got {length} and {core}")
    from kdjax.data.interactions import source

    return source.read(config, split, length, least_rating, core)
