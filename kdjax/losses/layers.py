"""Which of a teacher's layers teaches which of a student's, by name.

Layers are numbered from 1: hidden states of layer n are `features[n]`, as features[0] is the embeddings' output, and
its attention scores `attentions[n - 1]`.
"""

from kdjax.find import nearest

NAMES = ("uniform", "first", "last", "skip")
"""Of S layers and T of the teacher's, layer i learns from

  uniform  i T / S, rounded down: every k-th, the last from the last (TinyBERT)
  first    i: the first S, which is where a student of a pretrained teacher often begins (Sun et al. 2019)
  last     T - S + i: the last S (PKD-Last)
  skip     as uniform, but the last layer learns from none: it makes the logits, which are taught (PKD-Skip)
"""


def layer_map(owner: str, layers, students: int, teachers: int) -> tuple[tuple[int, int], ...]:
    """Pairs of (student's, teacher's) layers, from 1.

    Args:
      owner: what asks, for messages.
      layers: a name of NAMES, or the pairs themselves, or numbers that stand for both.
      students, teachers: how many layers each has.

    Raises:
      ValueError: an unknown name, a number that is no layer's, more layers than the teacher has, or no pair at all.
    """
    if isinstance(layers, str):
        pairs = _named(owner, layers, students, teachers)
    else:
        pairs = tuple(tuple(pair) if isinstance(pair, tuple | list) else (pair, pair) for pair in layers)
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(f"{owner}: a layer is an int or a pair (student's, teacher's), got {pair!r}")
        for who, number, count in zip(("student", "teacher"), pair, (students, teachers), strict=True):
            if not 1 <= number <= count:
                raise ValueError(
                    f"{owner}: layers: {number} is out of range; the {who} has {count} layers, valid are 1 to {count}"
                )
    if not pairs:
        raise ValueError(f"{owner}: layers={layers!r} pairs no layer of a student that has {students} with a teacher's")
    return pairs


def _named(owner: str, name: str, students: int, teachers: int) -> tuple[tuple[int, int], ...]:
    if not students or not teachers:
        raise ValueError(f"{owner}: the student has {students} such layers, the teacher {teachers}")
    if name not in NAMES:
        raise ValueError(f"{owner}: layers {name!r}{nearest(name, NAMES)}")
    if students > teachers:
        raise ValueError(
            f"{owner}: the student has {students} layers and the teacher {teachers}; say which belong together, as "
            "layers=((1, 1), (3, 2)) of (student's, teacher's)"
        )
    own = range(1, students + (name != "skip"))
    theirs = {"first": lambda i: i, "last": lambda i: teachers - students + i}.get(
        name, lambda i: i * teachers // students
    )
    return tuple((i, theirs(i)) for i in own)
