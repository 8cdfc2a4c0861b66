"""Which interactions of each user are for training, validation and test, and what is told of those that are left out.

An order of time is needed by all but `ratio`. Where a user did several things at the same time, a hash of the seed,
the user and the item orders them: file order or item number would tell a network what came last.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from kdjax.data.interactions.files import Interactions
from kdjax.find import nearest

TRAIN, VALIDATION, TEST = 0, 1, 2
NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """Interactions, each user's in the order of time, and the split of each."""

    data: Interactions
    split: np.ndarray  # [N] int8, TRAIN, VALIDATION or TEST
    remarks: tuple[str, ...]  # what a reader of the numbers should know, a sentence each


def parts(data: Interactions, how: str, validation: float, test: float, seed: int, given=None) -> Parts:
    """The split of every interaction.

    Args:
      how: "leave_one_out", each user's last one is the test, with `validation` above 0 the one before it is the
        validation split; "time", the last share `test` of all interactions, and before these the share `validation`;
        "ratio", of each user's items the drawn shares; or "given".
      seed: of ties in time and of what is drawn.
      given: [N] the split of each, where files say it.

    Raises:
      ValueError: no such way to split, no times where they are needed, or nobody is left to test.
    """
    data, given, remarks = _once(data, given)
    tie = _hashes(data, seed)
    order = _in_time(data, tie)
    data, tie = _taken(data, order), tie[order]
    given = None if given is None else given[order]
    if how == "given":
        split = given
    elif how == "leave_one_out":
        split = _leave_one_out(data, 1 + (validation > 0))
        remarks += _tied(data, split)
    elif how == "ratio":
        split = _ratio(data, tie, validation, test)
    elif how == "time":
        split = _cut(data, tie, validation, test)
    else:
        raise ValueError(f"config.data.kwargs.split {how!r}{nearest(how, ('leave_one_out', 'time', 'ratio'))}")
    data, split, more = _answerable(data, split.astype(np.int8))
    return Parts(data, split, (*remarks, *more))


def _taken(data: Interactions, index: np.ndarray) -> Interactions:
    names = ("user", "item", "file", "line", *(["time"] if data.time is not None else []))
    return replace(data, **{name: getattr(data, name)[index] for name in names})


def _once(data: Interactions, given) -> tuple[Interactions, np.ndarray | None, list[str]]:
    """Every item of a user once, as it came first: a list of what is new cannot hold what is known.

    Raises:
      ValueError: the files of two splits have the same.
    """
    pair = data.user.astype(np.int64) * len(data.items) + data.item
    by_time = np.arange(len(pair)) if data.time is None else np.argsort(data.time, kind="stable")
    _, first, inverse = np.unique(pair[by_time], return_index=True, return_inverse=True)
    first_of = np.empty(len(pair), np.int64)
    first_of[by_time] = by_time[first][inverse]
    again = np.flatnonzero(first_of != np.arange(len(pair)))
    if not len(again):
        return data, given, []
    one = again[0]
    told = f"{data.place(one)}, repeats {data.place(first_of[one])}: user {data.users[data.user[one]]!r}, item "
    told += repr(data.items[data.item[one]])
    if given is not None and (given[again] != given[first_of[again]]).any():
        one = again[(given[again] != given[first_of[again]]).argmax()]
        raise ValueError(
            f"{data.place(one)}: user {data.users[data.user[one]]!r} has item {data.items[data.item[one]]!r} in "
            f"{data.place(first_of[one])}, too; what is trained on cannot be tested"
        )
    keep = np.setdiff1d(np.arange(len(pair)), again)
    remark = f"{len(again):,} of {len(pair):,} interactions are left out, as the user has the item already ({told})"
    return _taken(data, keep), None if given is None else given[keep], [remark]


def _hashes(data: Interactions, seed: int) -> np.ndarray:
    """[N] uint64 of the seed and the names of user and item: the same whatever else is in the files."""
    users, items = ([name.encode(errors="surrogatepass") for name in names] for names in (data.users, data.items))
    key = seed.to_bytes(8, "little")
    digests = (
        blake2b(users[user] + b"\0" + items[item], digest_size=8, key=key).digest()
        for user, item in zip(data.user.tolist(), data.item.tolist(), strict=True)
    )
    return np.frombuffer(b"".join(digests), "<u8")


def _in_time(data: Interactions, tie: np.ndarray) -> np.ndarray:
    """[N] the order by user, then by time, then by hash; that of the file where there are no times."""
    if data.time is None:
        return np.argsort(data.user, kind="stable")
    return np.lexsort((tie, data.time, data.user))


def _from_the_end(data: Interactions) -> np.ndarray:
    """[N] how many of the user's interactions come after each."""
    ends = np.cumsum(np.bincount(data.user, minlength=len(data.users)))
    return ends[data.user] - 1 - np.arange(len(data))


def _leave_one_out(data: Interactions, held: int) -> np.ndarray:
    """Users with no more interactions than are held out stay in the training split whole."""
    many = np.bincount(data.user, minlength=len(data.users))[data.user] > held
    after = _from_the_end(data)
    split = np.where(many & (after == 0), TEST, TRAIN)
    return np.where(many & (after == 1) & (held > 1), VALIDATION, split)


def _tied(data: Interactions, split: np.ndarray) -> list[str]:
    """A remark where the seed, and not time, decides what is held out."""
    if data.time is None:
        return ["there are no times: the last line of each user is taken for the last in time"]
    last = np.flatnonzero((split == TEST) & (np.arange(len(data)) > 0))
    last = last[(data.user[last - 1] == data.user[last]) & (data.time[last - 1] == data.time[last])]
    if not len(last):
        return []
    users = int((split == TEST).sum())
    return [
        f"{len(last):,} of {users:,} users have their last interactions at one time: a hash of config.data.split_seed "
        f"says which of these is the test (first {data.place(last[0])})"
    ]


def _ratio(data: Interactions, tie: np.ndarray, validation: float, test: float) -> np.ndarray:
    """Of each user's n interactions round(n * test) are the test, round(n * validation) validation, in hash order."""
    order = np.lexsort((tie, data.user))
    counts = np.bincount(data.user, minlength=len(data.users))
    rank = np.empty(len(data), np.int64)
    rank[order] = np.arange(len(data)) - (np.cumsum(counts) - counts)[data.user[order]]
    tests = np.round(test * counts)[data.user]
    validations = np.round(validation * counts)[data.user]
    split = np.where(rank < tests, TEST, TRAIN)
    return np.where((rank >= tests) & (rank < tests + validations), VALIDATION, split)


def _cut(data: Interactions, tie: np.ndarray, validation: float, test: float) -> np.ndarray:
    """One moment for all users: what came after it is the test."""
    if data.time is None:
        raise ValueError(f"config.data.kwargs.split='time' needs times, and {data.files[0]} has none")
    rank = np.empty(len(data), np.int64)
    rank[np.lexsort((tie, data.time))] = np.arange(len(data))
    begins = len(data) - round(test * len(data))
    split = np.where(rank >= begins, TEST, TRAIN)
    return np.where((rank < begins) & (rank >= begins - round(validation * len(data))), VALIDATION, split)


def _answerable(data: Interactions, split: np.ndarray) -> tuple[Interactions, np.ndarray, list[str]]:
    """Without what is held out of users that have no training interaction; remarks on these, and on unseen items."""
    remarks = []
    trained = np.bincount(data.user[split == TRAIN], minlength=len(data.users)) > 0
    seen = np.bincount(data.item[split == TRAIN], minlength=len(data.items)) > 0
    lost = np.flatnonzero((split != TRAIN) & ~trained[data.user])
    if len(lost):
        users = len(np.unique(data.user[lost]))
        remarks.append(
            f"{users:,} users have no training interaction and are not tested ({len(lost):,} interactions, first "
            f"{data.place(lost[0])}, user {data.users[data.user[lost[0]]]!r})"
        )
        keep = np.setdiff1d(np.arange(len(data)), lost)
        data, split = _taken(data, keep), split[keep]
    for number in (VALIDATION, TEST):
        unseen = np.flatnonzero((split == number) & ~seen[data.item])
        if len(unseen):
            remarks.append(
                f"{len(unseen):,} of {(split == number).sum():,} {NAMES[number]} interactions are with items that no "
                f"training interaction has (first {data.place(unseen[0])}, item "
                f"{data.items[data.item[unseen[0]]]!r}): they count, and nothing could be learned of them"
            )
    for number in (TRAIN, TEST):
        if not (split == number).any():
            raise ValueError(f"{data.files[0]}: no interaction is left for the {NAMES[number]} split")
    return data, split, remarks
