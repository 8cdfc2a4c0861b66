"""Where every random number of a run comes from: nothing else in kdjax makes a key or a generator for a run.

On the host `stream(seed, role, *numbers)` gives a generator (batch order, subsets) or a key, which a compiled step
divides further by `within(key, role, *numbers)`. Each role has its own numbers, always as many, so that no two draws
of a run share a key, whatever ran before. A teacher's roles begin with "teacher/": with one seed number teacher and
student share nothing.

A *generation* counts the students between a network and the experiment's own teacher. It is 0 for what that teacher
teaches or nobody does, and one more than that of the methods that it is taught by (`teacher`) or begins from
(`start`); a teacher that came as a file counts as a student of generation 0, as it may be one. Generations differ in
"training": initial weights, memories, what terms draw, dropout. So a student of its teacher's architecture does not
begin as its teacher began, and one that goes on from another's weights does not draw the same again. "order",
"augment" and "shots" have no generation: all rows of a seed see the same images, in the same batches, and can be
compared in pairs.
"""

import json
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # a generator needs no JAX: what predicts or reads images starts without
    import jax

TEACHER = "teacher/"
"""The beginning of the roles of a network that is trained as the experiment's teacher."""

ROLES = {
    "order": ("epoch",),  # batches; first stages have negative epochs
    "augment": ("epoch",),  # the key is divided by step, then augmentation
    "views": ("view",),  # instead, where examples have few views: divided by example, then augmentation
    "training": ("generation", "stage"),  # the key of a State, divided by WITHIN
    "shots": ("class",),  # which images of a class the students of a seed see
    "train_examples": ("class",),  # the same for all seeds: seed 0
    "validation": ("class",),  # likewise
    "test": ("class",),  # texts that are held out for testing, by config.data.split_seed
    "lists": (),  # training lists of searches, by config.data.split_seed
    "negatives": (),  # documents that stand in them besides, likewise
    "rewrite": (),  # which words of training texts are replaced, and by what: kdjax rewrite
    "lengths": ("epoch",),  # how batches of texts of like lengths follow each other
}
"""Role -> its numbers."""

WITHIN = {
    "init": (),  # initial parameters of student and terms
    "memory": ("term",),  # what a term draws while it is initialized
    "terms": ("step", "term"),
    "dropout": ("step", "part"),  # `part` of a batch that devices share, else 0
    "rngs": ("step", "part"),  # every other collection that a model calls `make_rng` for
}
"""Role -> its numbers, in the key of a State."""


@dataclass(frozen=True)
class Stream:
    """128 random bits, to be used once: as a key or as a generator."""

    words: tuple[int, int, int, int]

    def key(self) -> "jax.Array":
        """A typed key [] of JAX's default implementation."""
        import jax

        (size,) = jax.random.key_data(jax.random.key(0)).shape
        return jax.random.wrap_key_data(np.array(self.words[:size], np.uint32))

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.words))


def stream(seed: int, role: str, *numbers: int) -> Stream:
    """The random bits of a role, a function of the arguments and the same on every machine.

    Args:
      seed: of the cohort, or of the teacher.
      role: one of ROLES, or "teacher/" and one of them.
      numbers: those that ROLES names, of any sign.

    Raises:
      ValueError: no such role, or not its numbers.
    """
    _check(role.removeprefix(TEACHER), numbers, ROLES)
    text = json.dumps([int(seed), role, *map(int, numbers)])
    digest = blake2b(text.encode(), digest_size=16).digest()
    return Stream(tuple(int(word) for word in np.frombuffer(digest, "<u4")))


def within(key: "jax.Array", role: str, *numbers) -> "jax.Array":
    """The key of a role within a State's key; `numbers` may be traced.

    The last of them may be left out, to be folded in later: within(key, "terms", step) is divided by term.

    Raises:
      ValueError: no such role in WITHIN, or more numbers than it has.
    """
    import jax

    _check(role, numbers, {name: known[: len(numbers)] for name, known in WITHIN.items()})
    for number in (np.uint32(zlib.crc32(role.encode())), *numbers):
        key = jax.random.fold_in(key, number)
    return key


def _check(role: str, numbers: tuple, roles: dict) -> None:
    if role not in roles:
        raise ValueError(f"there is no role {role!r} for random numbers; valid are {', '.join(roles)}")
    if len(numbers) != len(roles[role]):
        raise ValueError(f"the role {role!r} has the numbers {roles[role]}, got {len(numbers)}")
