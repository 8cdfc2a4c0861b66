"""What networks see: the examples at one size and normalised in one way, and evaluation on them."""

import functools

from ml_collections import ConfigDict

from kdjax import config as configs
from kdjax.data import Dataset, kinds, load
from kdjax.data.images.prepare import check_normalisation
from kdjax.tasks.task import Task
from kdjax.training.evaluate import Evaluator
from kdjax.training.rerank import First
from kdjax.training.searching import Catalogue


class Sight:
    """The examples as some networks take them.

    Training batches are one augmented view for all, at the largest size, which is made smaller on the device for each;
    the other splits are read at each one's own size, as is what a network meets once it has shipped.
    """

    def __init__(self, data: ConfigDict, dataset: Dataset, task: Task, batch_size: int):
        """`data`: config.data as these networks have it; `dataset`: as it is loaded for them."""
        self.data, self.dataset, kind = data, dataset, kinds.KINDS[dataset.kind]
        self.spec = kinds.spec(dataset, data)
        splits = {name: split for name, split in dataset.splits.items() if name != "train"}
        order = {name: splits[name] for name in ("test", "validation") if name in splits}
        if task.catalogue:
            first = First(dataset.texts, kind.transform(data, dataset), data.negatives.pool)
            self.evaluator = Catalogue(order, dataset.documents, task, batch_size, first)
            return
        if dataset.documents is not None:  # an example is a query with all of its documents
            longest = max(split.target.shape[1] for split in splits.values())
            batch_size = max(1, batch_size // (1 + longest))
        shapes = functools.partial(kind.shapes, config=data)
        self.evaluator = Evaluator(order, kind.transform(data, dataset), task, batch_size, shapes)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) where examples are images."""
        return self.spec.shape if self.dataset.kind == "images" else None


def sights(config: ConfigDict, task: Task) -> tuple[Sight, Sight]:
    """(what students see, what the experiment's teacher sees): one and the same unless config.teacher says otherwise.

    Raises:
      ValueError: the data cannot be loaded, or what the teacher sees is no image.
    """
    in_memory, size = not config.execution.stream, config.execution.eval_batch_size
    students = Sight(config.data, load(config.data, in_memory=in_memory, task=task), task, size)
    own = taught_data(config)
    if own == config.data:
        return students, students
    dataset = students.dataset
    if dataset.kind != "images":
        raise ValueError(f"config.teacher.image_size, mean and std are of images; {dataset.name} has none")
    check_normalisation(dataset, own, "config.teacher")
    if own.image_size != config.data.image_size:
        dataset = load(own, in_memory=in_memory, task=task)
    return students, Sight(own, dataset, task, size)


def taught_data(config: ConfigDict) -> ConfigDict:
    """config.data as the experiment's teacher has it: images of its size, normalised in its way."""
    own = configs.resolve(config).data  # a copy that keeps the order of augmentations
    for name in ("image_size", "mean", "std"):
        own[name] = config.teacher[name] or own[name]
    return own
