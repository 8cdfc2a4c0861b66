"""Every field of an experiment with its default and unit, and the check that says what is wrong with one."""

import functools
import math
from collections.abc import Mapping

from ml_collections import ConfigDict

from kdjax.find import nearest
from kdjax.typed import typed

FREE = (
    "student.kwargs",
    "teacher.kwargs",
    "teacher.optimizer",
    "optimizer.kwargs",
    "optimizer.rates",
    "optimizer.schedule_kwargs",
    "data.augment",
    "data.second_augment",
    "data.kwargs",
    "metrics",
    "tuned",
    "pilot",
)
"""Subtrees whose keys are checked where they are used: against a model's, an optimizer's or a function's arguments."""


SCHEDULES = ("constant", "cosine", "step")
OPTAX_SCHEDULES = (
    *("constant_schedule", "cosine_decay_schedule", "cosine_onecycle_schedule", "exponential_decay"),
    *("join_schedules", "linear_onecycle_schedule", "linear_schedule", "piecewise_constant_schedule"),
    *("piecewise_interpolate_schedule", "polynomial_schedule", "sgdr_schedule", "warmup_constant_schedule"),
    *("warmup_cosine_decay_schedule", "warmup_exponential_decay_schedule"),
)
"""Those of optax.schedules, named here because tables are made without JAX."""


def default() -> ConfigDict:
    """The complete configuration; a file in configs/ starts from it and changes fields."""
    config = ConfigDict(sort_keys=False)
    config.experiment = "untitled"  # the directory under runs/
    config.seeds = (0, 1, 2)  # one cohort each: initial weights, batches, augmentation and few-shot subset
    config.epochs = 30
    config.batch_size = 64
    config.steps_per_epoch = 0  # 0: as many whole batches as the training set has
    config.keep_last_batch = False  # train on the smaller last batch of an epoch instead of leaving it out
    config.eval_every_epochs = 1  # the last epoch is always evaluated
    config.baseline = "student"  # the row that the others are compared with
    config.task = "classification"  # or regression, ranking, search, retrieval, recommendation, an import path
    config.metrics = ConfigDict(sort_keys=False)  # numbers of one's own: name -> import path of fn(logits, target)
    config.references = ()  # beside the networks: ("tfidf",) of texts, or paths of fn(train, inputs, dataset) -> logits
    config.dtype = "float32"  # what models compute in; "bfloat16" keeps parameters, losses and statistics in float32

    config.data = _data()
    config.student = ConfigDict()
    config.student.model = ""  # a name in kdjax.models or the import path of a Linen module
    config.student.kwargs = ConfigDict()
    config.student.capture = ()  # layers that are its features, "layer2/block_0"; kdjax.models.capture.parsed
    config.student.start = ""  # a .safetensors file that students begin from, all but the classifier; "": afresh

    config.teacher = _teacher()
    config.optimizer = _optimizer()

    # name -> {loss: {weight, hyperparameters}}, in the order of the table's rows; kdjax.config.recipes has the papers'.
    # Set them one by one: ml_collections sorts the keys of a dictionary that is assigned as a whole.
    config.methods = ConfigDict(sort_keys=False)
    config.ablate = ConfigDict(allow_dotted_keys=True, sort_keys=False)  # "kd.kd.temperature" -> values, a row each
    config.pairs = ConfigDict(sort_keys=False)  # several experiments: name -> fields that differ; kdjax.config.pairs
    config.published = ConfigDict({"benchmark": "", "teacher": "", "student": ""})  # which paper rows stand beside ours

    config.tuned = ConfigDict()  # of what kdjax tune chose; kdjax run --tuned fills it in
    config.pilot = ConfigDict()  # of what decided the number of seeds; kdjax run --seeds=until: fills it in
    config.execution = _execution()
    return config


def _data() -> ConfigDict:
    """config.data: where examples come from, which of them are used, and what is done to them."""
    data = ConfigDict(sort_keys=False)
    data.source = "digits"  # what `kdjax list datasets` shows, or the import path of fn(config.data) -> Dataset
    data.name = ""  # tfds: the data set, "cifar10"
    data.path = ""  # folder: holds train/, test/ and perhaps val/, a folder per class in each; csv: a file, or a folder
    data.image_size = 0  # pixels a side; 0: as the images are
    data.train_examples = 0  # 0: all; else a stratified part of the training split
    data.validation = 0.0  # fraction of the training split held out to choose epochs and hyperparameters on
    data.closed = False  # the test split is not looked at: validation stands in its place too, as kdjax tune has it
    data.shots = 0  # labelled images a class that students see; 0: all. The teacher sees all
    data.imbalance = 0.0  # long tail: most over fewest images a class that students see; 0: as it is
    data.unlabelled = False  # keep the training images beyond `shots`, without their labels
    data.coarse_labels = ""  # a file that maps each class to a coarser one
    data.mean = (0.5,)  # per channel, of pixels scaled to 0..1
    data.std = (0.5,)
    data.augment = ConfigDict(sort_keys=False)  # name -> hyperparameters, applied in this order
    data.views = 0  # different augmented views of each example, that epochs take in turn; 0: every epoch has its own
    data.second_augment = ConfigDict(sort_keys=False)  # what a second view has besides, for losses that ask for it
    data.kwargs = ConfigDict()  # keyword arguments of the source, one's own too
    data.negatives = ConfigDict(sort_keys=False)  # of searches: irrelevant documents that training lists have besides
    data.negatives.random = 0  # drawn from the catalogue for each query, once
    data.negatives.hard = 0  # those that its teacher ranks highest, mined once and kept
    data.negatives.skip = 0  # of these so many are left out, the first: perhaps relevant, and not judged
    data.negatives.pool = 100  # that a teacher without towers, cross_encoder, looks at and orders: TF-IDF's first
    _text(data)
    return data


def _text(data: ConfigDict) -> None:
    """Fields of config.data that are of texts."""
    data.columns = ConfigDict(sort_keys=False)  # of csv, tsv, jsonl and parquet files
    data.columns.names = ()  # of all columns, in order, where the first line of a file is no header
    data.columns.text = "text"
    data.columns.second = ""  # of the second text, where an example is a pair
    data.columns.label = "label"  # of the class, a word or a whole number
    data.columns.split = ""  # says train, validation or test; "": the files do, or rows are drawn
    data.columns.group = ""  # rows with the same value, offers of one product, are drawn to one side of a split
    data.transfer = ""  # a file of texts without labels, which students see where `unlabelled` says so: their teacher's
    data.test = 0.2  # fraction of the rows that is the test split, where neither files nor a column say it
    data.split_seed = 0  # of that draw
    data.tokenizer = "words"  # words, characters or trigrams (of the training split), or a Hugging Face folder
    data.min_count = 2  # times that a word, character or trigram stands in the training split, to be in the vocabulary
    data.vocabulary = 30_000  # tokens in it, at most; 0: all
    data.length = 0  # tokens at which a text is cut; 0: what holds 99 % of the training texts whole, at most 512
    data.buckets = 4  # lengths that batches are padded to, at most: each is compiled; texts of like length meet


def _teacher() -> ConfigDict:
    """config.teacher: what teaches, where it comes from, and how it is trained if it is trained here."""
    teacher = ConfigDict()
    teacher.model = ""  # "": no teacher, for methods that need none
    teacher.kwargs = ConfigDict()
    teacher.capture = ()  # as config.student.capture, of whatever teaches
    teacher.weights = ""  # a .safetensors file or a Hugging Face folder; "": it is trained here
    teacher.start = ""  # such a file or folder that its training begins from, all but the classifier; "": afresh
    teacher.onnx = ""  # a network in an .onnx file, which onnxruntime runs on the host (the extra `export`)
    teacher.function = ""  # the import path of fn(inputs) -> logits or Outputs, in any library
    teacher.outputs = ""  # a file of what it said of the examples, .npz or .parquet: kdjax.experiment.elsewhere.outputs
    teacher.run = ""  # a run whose student teaches, "runs/x/teacher/seed0"; several joined by + are an ensemble
    teacher.image_size = 0  # pixels a side that it sees; 0: as config.data. The view is one, at the larger of the two
    teacher.mean = ()  # normalisation of what it sees; (): as config.data
    teacher.std = ()
    teacher.seed = 0  # one teacher for all cohorts
    teacher.epochs = 0  # 0: as the students
    teacher.batch_size = 0  # 0: as the students
    teacher.optimizer = ConfigDict()  # what differs from config.optimizer
    return teacher


def _optimizer() -> ConfigDict:
    """config.optimizer: that of the students, and of the teacher but for config.teacher.optimizer."""
    optimizer = ConfigDict()
    optimizer.name = "sgd"  # a function of optax, or the import path of fn(learning_rate, **kwargs)
    optimizer.kwargs = ConfigDict()  # its arguments; sgd's momentum is 0.9 unless set
    optimizer.learning_rate = 0.05
    optimizer.weight_decay = 5e-4  # of every parameter: L2 as torch's SGD; adamw and others use their own way
    optimizer.schedule = "cosine"  # constant, cosine (to 0 at the last step), step, one of optax or an import path
    optimizer.schedule_kwargs = ConfigDict(sort_keys=False)  # of the last two, whose values multiply the learning rate
    optimizer.milestones = (150, 180, 210)  # step: epochs after which the rate is multiplied by `factor`
    optimizer.factor = 0.1
    optimizer.warmup_epochs = 0.0  # linear from 0
    optimizer.clip_norm = 0.0  # largest global norm of the gradient; 0: none
    optimizer.rates = ConfigDict()  # path, as "student/classifier" or "student/blocks_*" -> times the learning rate
    optimizer.frozen_batch_norm = False  # the network's BatchNorms keep statistics, scale and shift as they begin
    return optimizer


def _execution() -> ConfigDict:
    """config.execution: what changes speed, never results."""
    execution = ConfigDict()
    execution.devices = "students"  # what is spread over devices: students, seeds, batch; or one: nothing is
    execution.stream = False  # read training images from disk, batch by batch, instead of holding them in memory
    execution.workers = 0  # processes that decode them; 0: threads of this one
    execution.steps_per_call = 0  # 0: 1 on the CPU, 16 on an accelerator
    execution.eval_batch_size = 500
    execution.keep_predictions = True  # predictions.npz beside each result: logits and scores of every test example
    execution.teach_once = False  # keep what the teacher says of each training example, or of each of its data.views
    execution.checkpoint_seconds = 300.0  # at least so long between two checkpoints of a run; 0: every step
    return execution


def resolve(config: ConfigDict) -> ConfigDict:
    """`config` with defaults for the fields it lacks, every type checked.

    Raises:
      ValueError: an unknown field (with the nearest spelling), a wrong type, or a value out of range.
    """
    if not isinstance(config, ConfigDict | Mapping):
        raise ValueError(f"a config is a ConfigDict, kdjax.config.default() with some fields changed; got {config!r}")
    resolved = default()
    merge(resolved, config, "config")
    sgd_has_momentum(resolved.optimizer)
    _check_json(plain(resolved), "config")
    _check_values(resolved)
    return resolved


def sgd_has_momentum(optimizer: ConfigDict) -> None:
    """Fills in what sgd has unless another is given: no default of all optimizers, for few take a momentum."""
    if optimizer.name == "sgd" and "momentum" not in optimizer.kwargs:
        optimizer.kwargs.momentum = 0.9


def merge(base: ConfigDict, given: Mapping, path: str, top: str = "config") -> None:
    """Puts the fields of `given`, at `path` below what messages call `top`, into `base`.

    Raises:
      ValueError: a field that there is not, or of the wrong type.
    """
    for key in given:
        field, value = f"{path}.{key}", given[key]
        if key not in base:
            raise ValueError(f"unknown config field {field}{nearest(key, base.keys())}")
        if field.removeprefix(f"{top}.") in (*FREE, "methods", "ablate", "pairs"):
            if not isinstance(value, ConfigDict | Mapping):
                raise ValueError(f"{field} must be a dictionary, got {value!r}")
            with base[key].ignore_type():  # whoever uses a field checks its type
                for name in value:  # one by one, so that their order is kept
                    base[key][name] = value[name]
        elif isinstance(base[key], ConfigDict):
            if not isinstance(value, ConfigDict | Mapping):
                raise ValueError(f"{field} must be a dictionary, got {value!r}")
            merge(base[key], value, field, top)
        else:
            base[key] = typed(value, base[key], field)


def _check_json(value, field: str) -> None:
    """Refuses what config.json could not hold, or what no field can mean."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict) and not isinstance(key, str):
                raise ValueError(f"{field}: a field's name must be a string, got {key!r}")
            _check_json(inner, f"{field}.{key}" if isinstance(value, dict) else field)
        return
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{field} holds a null character: {value!r}")
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) < 2**53):
        raise ValueError(f"{field} must be a finite number below 2^53, got {value!r}")
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"{field} must be a number, a string, a tuple or a dictionary of them, got {value!r}")


NEGATIVES = {"random": 0, "hard": 0, "skip": 0, "pool": 1}
"""The least values of the fields of config.data.negatives, and of a method's own."""


def _check_values(config: ConfigDict) -> None:
    at_least = {
        "epochs": 1,
        "batch_size": 1,
        "steps_per_epoch": 0,
        "eval_every_epochs": 1,
        "execution.eval_batch_size": 1,
        "execution.steps_per_call": 0,
        "execution.workers": 0,
        "execution.checkpoint_seconds": 0,
        "teacher.epochs": 0,
        "teacher.batch_size": 0,
        "teacher.image_size": 0,
        "data.image_size": 0,
        "data.train_examples": 0,
        "data.shots": 0,
        "data.imbalance": 0,
        "data.split_seed": 0,
        "data.views": 0,
        "data.min_count": 1,
        "data.vocabulary": 0,
        "data.length": 0,
        "data.buckets": 1,
        **{f"data.negatives.{name}": least for name, least in NEGATIVES.items()},
        "optimizer.weight_decay": 0,
        "optimizer.learning_rate": 0,
        "optimizer.warmup_epochs": 0,
        "optimizer.clip_norm": 0,
    }
    for field, least in at_least.items():
        value = lookup(config, field)
        if not value >= least:
            raise ValueError(f"config.{field} must be at least {least}, got {value!r}")
    if not 0 <= config.data.validation < 1:
        raise ValueError(f"config.data.validation is a fraction, 0 <= f < 1, got {config.data.validation!r}")
    if not 0 < config.data.test < 1:
        raise ValueError(f"config.data.test is a fraction, 0 < f < 1, got {config.data.test!r}")
    check_seeds(config.seeds, "config.seeds")
    if not _is_seed(config.teacher.seed):
        raise ValueError(f"config.teacher.seed must be an integer >= 0, got {config.teacher.seed!r}")
    _one_of(config, "dtype", ("float32", "bfloat16"))
    if "." not in config.optimizer.schedule:
        _one_of(config, "optimizer.schedule", (*SCHEDULES, *OPTAX_SCHEDULES))
    _one_of(config, "execution.devices", ("students", "seeds", "batch", "one"))
    if not config.experiment or any(c in config.experiment for c in "/\\\0\n") or config.experiment in (".", ".."):
        raise ValueError(f"config.experiment names a directory, without a slash, got {config.experiment!r}")
    if config.teacher.image_size and not config.data.image_size:
        raise ValueError(
            "config.teacher.image_size is set, and config.data.image_size, what students see, is not; set both"
        )
    for name in ("weights", "start"):
        if config.teacher[name] and not config.teacher.model:
            raise ValueError(f"config.teacher.{name} is set, but config.teacher.model does not say whose it is")
    given = [f"config.teacher.{name}" for name in ("start", *ORIGINS) if config.teacher[name]]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are both set; give one of them")


ORIGINS = ("run", "weights", "onnx", "function", "outputs")
"""Fields of config.teacher that name a teacher which is not trained here."""


def origin(teacher: Mapping) -> str:
    """The one of ORIGINS that a config.teacher, of any version, has; "": its model, if it has one, is trained here."""
    return next((name for name in ORIGINS if teacher.get(name)), "")


def check_seeds(seeds, field: str) -> None:
    if not seeds or not all(_is_seed(seed) for seed in seeds) or len(set(seeds)) != len(seeds):
        raise ValueError(f"{field} must be different integers from 0 to 2^32 - 1, at least one, got {seeds!r}")


def _is_seed(seed) -> bool:
    return isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32


def _one_of(config, field, valid) -> None:
    value = lookup(config, field)
    if value not in valid:
        raise ValueError(f"config.{field} {value!r} is unknown{nearest(value, valid)}")


def lookup(config, field: str):
    """The value at a dotted path."""
    for key in field.split("."):
        config = config[key]
    return config


def parse_arg(arg: str, **defaults):
    """The string after the colon of `--config=file.py:key=value,key=value` as a dictionary, typed by the defaults.

    Raises:
      ValueError: an unknown key (with the valid ones) or a value of another type.
    """
    values = dict(defaults)
    for part in filter(None, arg.split(",")):
        key, equals, text = part.partition("=")
        if key not in defaults or not equals:
            raise ValueError(f"config argument {part!r}{nearest(key, defaults)}; the form is key=value,key=value")
        kind = type(defaults[key])
        try:
            values[key] = text.lower() in ("1", "true", "yes") if kind is bool else kind(text)
        except ValueError:
            raise ValueError(f"config argument {key} must be of type {kind.__name__}, got {text!r}") from None
    return ConfigDict(values)


def plain(config):
    """The config as dictionaries, tuples as lists, integer keys as text: what json writes and reads unchanged."""
    if isinstance(config, ConfigDict | Mapping):
        return {str(key) if type(key) is int else key: plain(config[key]) for key in config}
    return [plain(value) for value in config] if isinstance(config, tuple | list) else config


@functools.cache
def _defaults() -> dict:
    """The defaults as dictionaries, made once: a table asks for them with every run. Not to be changed."""
    return plain(default())


def completed(stored: dict) -> dict:
    """A run's config.json with the defaults of fields that did not exist when it was written."""
    groups = {
        key: {**value, **stored[key]}
        for key, value in _defaults().items()
        if key != "student" and isinstance(value, dict) and isinstance(stored.get(key), dict)
    }
    added = {"task": "classification", "metrics": {}, "references": []}  # fields of no group
    return {**added, **stored, **groups}


def differences(old, new, path: str = "") -> list[str]:
    """Lines 'field: old -> new' for every leaf in which two plain configs differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in differences(
                old.get(key, "(absent)"), new.get(key, "(absent)"), f"{path}.{key}" if path else key
            )
        ]
    return [] if old == new else [f"{path}: {old!r} -> {new!r}"]
