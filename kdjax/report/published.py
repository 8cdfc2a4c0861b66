"""What papers print for a teacher, a student and a method: published.json, the column beside our own numbers.

published.json has
  methods    our name of a method -> the papers' name; "<method>_kd" is the method together with KD.
  scores     benchmark -> the score that its records are of, where it is not top-1: a column of its task's tables.
  protocols  name of a recipe -> what it is.
  sources    a list: who printed a number and where.
  records    benchmark -> "teacher -> student" (lower case) -> the papers' name of a method -> one record:
             value, top-1 in percent or what `scores` says, times 100; std, its standard deviation, and trials, the
             number of runs, where the source states them; epoch, "last" or "best" (best on the test images, hence
             optimistic), where it is known;
             protocol, a name in protocols; source, a position in sources.

Of several sources for the same cell one stands here. CIFAR-100: the first under the protocol of the CRD benchmark,
CRD's own tables before others' re-runs. ImageNet: mdistiller's, whose recipes kdjax.config.recipes has, else the first.
Known copying errors (a column headed with another student, digits that differ from the quoted table, the same number
printed for two methods) were left out.
"""

import functools
import json
from pathlib import Path

MODELS = {"resnet50_cifar": "resnet50"}
"""Our name of a model -> the papers', where they differ."""


@functools.cache
def load() -> dict:
    return json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))


def score(benchmark: str) -> str:
    """The score that the records of a benchmark are of, as results call it."""
    return load()["scores"].get(benchmark, "top1")


def lookup(benchmark: str, teacher: str, student: str, method: str) -> dict | None:
    """What is published for a cell: {"value", "std", "trials", "epoch", "protocol", "source"}, or None.

    Args:
      benchmark: cifar100, imagenet, cifar10, tiny_imagenet, cub200, citeulike or sst2.
      teacher, student: names as in kdjax.models, upper or lower case; of citeulike with their width, bpr200, bpr20;
        of sst2 bert_base and distilbert, bert_large and bilstm.
      method: our name, "teacher" and "student" (trained alone) among them.

    Returns:
      percent and texts; std, trials and epoch are None where the source does not state them.
    """
    data = load()
    pair = " -> ".join(MODELS.get(name, name).lower() for name in (teacher, student))
    pair = data["records"].get(benchmark, {}).get(pair, {})
    record = pair.get(data["methods"].get(method))
    if record is None:
        return None
    found = {name: record.get(name) for name in ("value", "std", "trials", "epoch")}
    return {**found, "protocol": data["protocols"][record["protocol"]], "source": data["sources"][record["source"]]}
