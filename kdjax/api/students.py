"""A run as Python has it: what it was, what came out, and its student as a function of inputs."""

import functools
from pathlib import Path


class Student:
    """A run of an experiment.

    Attributes:
      path: its directory.
      config: its config.json.
      result: its result.json; None if it is not finished.
      history: the rows of its metrics.jsonl, one an epoch.
    """

    def __init__(self, path: Path, line: dict):
        self.path, self.config, self.result, self.history = path, line["config"], line["result"], line["history"]

    def __repr__(self) -> str:
        return f"<Student {self.path}: {self.result['status'] if self.result else 'not finished'}>"

    @functools.cached_property
    def variables(self) -> dict:
        """The student's variables after the last epoch, on the host: {"params": ..., "batch_stats": ...}.

        Raises:
          ValueError: the run is unfinished, has diverged, is damaged, or its directory is not here.
        """
        from kdjax.training import checkpoint

        _, result = self._finished()
        return checkpoint.student(self._run().checkpoints, result.get("student_sha256", ""))

    @functools.cached_property
    def model(self):
        """The student's network, a Linen module, computing as it was trained."""
        from kdjax import tasks
        from kdjax.config import rows

        config, result = self._finished()
        outputs = tasks.named(config["task"]).outputs(len(result.get("classes") or ()))
        known = {} if self._texts is None else {"vocabulary": self._texts.description["vocabulary"]}
        return rows.stored_model(config, outputs, self.path, known)

    def predict(self, inputs, seconds=None):
        """The student's logits, as the evaluation after the last epoch computed them; of rankers what a file gives.

        Embeddings [N, D] of images or texts, where the task is retrieval, and of queries, where it is search. What
        ranks lists or items, and reads pairs, takes what `kdjax.ship.rankers` says: [L, F] of each list, histories and
        users, queries and documents; the data of its run must be at hand.

        Args:
          inputs: images [N, H, W, C] uint8 of any H and W, resized and cropped as `kdjax predict` does; a list of
            texts, cut and padded as those of the training; or, where the examples are numbers, a pytree of arrays
            [N, ...].
          seconds: the second text of each pair, where examples are pairs of texts; documents; users.

        Returns:
          [N, K] float32.

        Raises:
          ValueError: there is no student (see `variables`), or inputs are of another kind or shape.
        """
        import jax
        import numpy as np

        if self._ranker is not None and not isinstance(inputs, dict):
            return self._ranker.predict(inputs, *([] if seconds is None else [seconds]))
        if self._texts is not None:
            inputs = self._texts.encode(inputs, seconds)
        elif seconds is not None:
            raise ValueError("`seconds` are of pairs of texts, and the examples are none")
        inputs = jax.tree.map(np.asarray, inputs)
        counts = {len(leaf) for leaf in jax.tree.leaves(inputs) if leaf.ndim}
        if len(counts) != 1 or counts == {0}:
            raise ValueError(f"inputs are arrays [N, ...] of the same N from 1 on, got N of {sorted(counts)}")
        if shape := (self.result or {}).get("image_shape"):
            inputs = _fitted(inputs, shape)
        (examples,) = counts
        size, logits = min(self._evaluation["batch_size"], examples), []
        for start in range(0, examples, size):
            part = jax.tree.map(lambda leaf, start=start: _padded(leaf[start : start + size], size), inputs)
            logits.append(np.asarray(self._apply(part)))
        return np.concatenate(logits)[:examples]

    @functools.cached_property
    def _ranker(self):
        """What a file of a ranker would serve, of the network here; None: it is none."""
        import jax

        from kdjax.ship import export, inference, ranked, serve

        config, result = self._finished()
        run = self._run()
        if not ranked.of_ranks(config):
            return None
        dataset = export.dataset(config)
        description = export.description_of(run, config, result, dataset)
        one = inference.predictor(description, ranked.shipped(config, self.variables, dataset))
        return serve.of(description)({**description, "weights": str(self.path)}, jax.jit(one))

    @functools.cached_property
    def _texts(self):
        """What makes inputs of texts, a `kdjax.ship.serve.Texts`; None where examples are no texts."""
        from kdjax.ship import export, serve

        shape = export.text_shape(self.path, self._finished()[1])
        return shape and serve.Texts(shape, self._apply)

    def _apply(self, inputs):
        return self._evaluation["apply"](self.variables, inputs)

    @functools.cached_property
    def _evaluation(self) -> dict:
        """The compiled forward pass, and the examples that it takes at once."""
        import jax
        import jax.numpy as jnp
        from ml_collections import ConfigDict

        from kdjax import tasks
        from kdjax.data import kinds
        from kdjax.models import convolve
        from kdjax.types import as_outputs

        config, result = self._finished()
        model, field = self.model, tasks.named(config["task"]).reads
        kind = "images" if result.get("image_shape") else "numbers" if self._texts is None else "text"
        transform = kinds.KINDS[kind].transform(ConfigDict(config["data"]), None)

        @jax.jit
        @convolve.fast()
        def apply(variables, inputs):
            outputs = model.apply(variables, transform(inputs), train=False)
            return getattr(as_outputs(outputs), field).astype(jnp.float32)

        return {"apply": apply, "batch_size": config["execution"]["eval_batch_size"]}

    def _run(self):
        from kdjax.runs.directory import Run

        return Run(self.path)

    def _finished(self) -> tuple[dict, dict]:
        from kdjax import config as configs

        config, result = self._run().finished()
        return configs.completed(config), result


def _fitted(images, shape):
    """Images as networks take them before they are normalised: [N, *shape] uint8."""
    import numpy as np

    from kdjax.ship import inference

    height, width, channels = shape
    if not hasattr(images, "shape") or images.ndim != 4 or images.shape[3] != channels or images.dtype != np.uint8:
        found = f"{images.dtype} {list(images.shape)}" if hasattr(images, "shape") else type(images).__name__
        raise ValueError(f"inputs are images [N, H, W, {channels}] uint8, got {found}")
    if images.shape[1:3] == (height, width):
        return images
    return np.asarray(inference.fit(images, height, width)).astype(np.uint8)


def _padded(leaf, size: int):
    """`leaf` with zeros after it, `size` long: every call has one shape, as in the evaluation."""
    import numpy as np

    return np.pad(leaf, ((0, size - len(leaf)), *[(0, 0)] * (leaf.ndim - 1)))
