"""What files of rankers predict: embeddings of queries and documents, scores of pairs, of lists and of all items.

None of this needs JAX.
"""

import difflib
import functools
from collections.abc import Sequence

import numpy as np

from kdjax.ship.served import Served, Texts, wrong_texts


class Towers(Texts):
    """A tower, or both where they share weights, of a network whose products of embeddings are scores."""

    noun, needs = "texts", ("tokenizer", "length", "pairs", "vocabulary", "lengths", "tower", "scale")

    def predict(self, texts: Sequence[str], of: str = "query") -> np.ndarray:
        """Embeddings [B, D] float32; `scale` of the description times the product of a query's and a document's is
        their score.

        Args:
          of: whether texts are a "query" or a "document" each: what is longer than those of the training is cut.

        Raises:
          ValueError: as `encode`.
        """
        return np.asarray(self.run(self.encode(texts, of)))

    def encode(self, texts: Sequence[str], of: str = "query") -> dict[str, np.ndarray]:
        """What `run` takes of them.

        Raises:
          ValueError: there are no texts, or one is empty or no str; the file holds the other tower.
        """
        tower = self.description["tower"]
        if tower not in ("both", of):
            raise ValueError(
                f"{self.description['weights']} is the tower of a {tower}; another file has that of a {of}"
            )
        wrong_texts(texts)
        length = self.description["lengths"][of]
        return self.padded(self.tokenizer.encode(texts, None, length), length)


class Pairs(Texts):
    """A network that reads a query and a document as one text."""

    noun, needs = "pairs", ("tokenizer", "length", "pairs", "vocabulary", "lengths", "front")

    def predict(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """Scores [B] float32 of documents, each for the query at its place.

        Raises:
          ValueError: as `encode`.
        """
        return np.asarray(self.run(self.encode(queries, documents)))

    def encode(self, queries: Sequence[str], documents: Sequence[str]) -> dict[str, np.ndarray]:
        """What `run` takes of them: both cut as in the training, each by itself, then joined as
        `kdjax.models.ranking.encoders.joined` does.

        Raises:
          ValueError: there are no texts, one is empty or no str, or there are more of one kind.
        """
        wrong_texts(queries, documents)
        lengths, front = self.description["lengths"], self.description["front"]
        first, second = (
            self.tokenizer.encode(texts, None, lengths[of])
            for texts, of in ((queries, "query"), (documents, "document"))
        )
        rows = [
            ([*q, *d[front:]], [0] * len(q) + [1] * (len(d) - front))
            for (q, _), (d, _) in zip(first, second, strict=True)
        ]
        return self.padded(rows, self.description["length"])


class Lists(Served):
    """A network that scores the items of a list by their features."""

    noun, needs = "items", ("features",)

    @classmethod
    def one(cls, description: dict) -> str:
        return f"an item of {description['features']} features"

    def predict(self, lists: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The scores [L] float32 of each list [L, F] of items.

        Lists of one length go through the network together, so that none is padded.

        Raises:
          ValueError: a list has no items, or they have another number of features.
        """
        for given in lists:
            if given.ndim != 2 or not len(given) or given.shape[1] != self.description["features"]:
                raise ValueError(
                    f"the model takes lists of items with {self.description['features']} features, got "
                    f"{list(given.shape)}"
                )
        scores: list = [None] * len(lists)
        lengths = np.array([len(given) for given in lists], int)
        for length in np.unique(lengths):
            (places,) = np.nonzero(lengths == length)
            found = self.run({"features": np.stack([lists[place] for place in places]).astype(np.float32)})
            for place, of_list in zip(places, np.asarray(found), strict=True):
                scores[place] = of_list
        return scores

    def drawn(self, examples: int, generator: np.random.Generator):
        """A list of so many random items, as `run` takes it."""
        return {"features": generator.standard_normal((1, examples, self.description["features"]), np.float32)}


class Users(Served):
    """A network that scores all items of a catalogue for a user, or embeds the user, where these are in a file."""

    noun, needs = "users", ("items", "reads", "length")

    def predict(self, histories: Sequence[Sequence[str]], users: Sequence[str] = ()) -> np.ndarray:
        """Scores [B, I] float32 of all items, in the order of the description's `items`, -inf for those of a history.

        Of a file that was exported with a catalogue embeddings [B, D], see `kdjax.ship.catalogue.Catalogue.scores`.

        Args:
          histories: names of the items that each user took, in the order of time; [] where the network reads none.
          users: names of the users, where the network has vectors of them.

        Raises:
          ValueError: as `encode`.
        """
        scores = np.array(self.run(self.encode(histories, users)))
        if self.description["gives"] == "embedding":
            return scores
        for row, history in zip(scores, histories, strict=True):
            row[[self.numbers["items"][item] for item in history]] = -np.inf
        return scores

    def encode(self, histories: Sequence[Sequence[str]], users: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """What `run` takes of them.

        Raises:
          ValueError: an item or a user that was not trained on, with the nearest name; no history or no user where the
            network reads it.
        """
        told = self.description
        made = {}
        if "user" in told["reads"]:
            if len(users) != len(histories):
                raise ValueError("the model has vectors of the users that it was trained with: it takes a user's name")
            made["user"] = np.array([self._number("users", user) for user in users], np.int32)
        rows = [[self._number("items", item) for item in history] for history in histories]
        if "history" in told["reads"]:
            if not all(rows):
                raise ValueError("the model reads what a user took: it takes one item at least")
            made["history"] = np.full((len(rows), told["length"]), -1, np.int32)
            for row, own in zip(made["history"], rows, strict=True):
                last = own[-told["length"] :]
                row[len(row) - len(last) :] = last
        return made

    def _number(self, of: str, name: str) -> int:
        number = self.numbers[of].get(name)
        if number is None:
            close = difflib.get_close_matches(name, self.numbers[of], n=1)
            near = f"; did you mean {close[0]!r}?" if close else ""
            more = "; a network that reads histories, as sasrec, takes new users" if of == "users" else ""
            raise ValueError(f"{of[:-1]} {name!r} was not trained on{near}{more}")
        return number

    @functools.cached_property
    def numbers(self) -> dict[str, dict[str, int]]:
        """{"items": name -> number, "users": the same, if the network knows any}."""
        return {
            of: {name: number for number, name in enumerate(self.description.get(of, ()))} for of in ("items", "users")
        }

    def drawn(self, examples: int, generator: np.random.Generator):
        """So many random users with whole histories, as `run` takes them."""
        told = self.description
        made = {
            "user": generator.integers(0, len(told.get("users", "_")), examples),
            "history": generator.integers(0, len(told["items"]), (examples, told["length"])),
        }
        return {name: made[name].astype(np.int32) for name in told["reads"]}
