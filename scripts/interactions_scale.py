"""What a step and an evaluation take at 40,000 users and 50,000 items, and how much memory; nothing is trained.

    python scripts/interactions_scale.py

Prints CPU seconds, all cores together, and the most memory that the process has had so far.
"""

import resource
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax import losses
from kdjax.models import lightgcn, matrix_factorisation
from kdjax.models.lightgcn import Graph
from kdjax.tasks import recommendation
from kdjax.training import parallel
from kdjax.training.objective import Objective, Term
from kdjax.training.step import make_eval_step, make_init, make_train_step, student_variables

USERS, ITEMS, WIDTH = 40_000, 50_000, 64
BATCH, TAKEN, PLACES = 256, 10, 100  # users; items of each; places of a target
LOSSES = (("sampled_softmax", {"negatives": 1024}), ("item_softmax", {}))


def main() -> None:
    parallel.setup()
    batch = made_up()
    model = lightgcn(ITEMS, users=USERS, width=WIDTH, graph=edges())
    report(f"a step of {BATCH} users of lightgcn by bpr", *reversed(trained(model, "bpr", {}, batch)))
    model = matrix_factorisation(ITEMS, users=USERS, width=WIDTH)
    for name, hyper in LOSSES:
        state, step = trained(model, name, hyper, batch)
        report(f"a step of {BATCH} users by {name}", step, state)
    target = batch["target"]
    target = jnp.where((target >= 0) & (jnp.arange(PLACES)[None] > 0), -2 - target, target)  # all but one were had
    evaluate = jax.jit(make_eval_step(model, recommendation.scores, "logits", recommendation.keep))
    given = batch["input"], target, jnp.ones(BATCH, bool)
    variables = student_variables(trained(model, *LOSSES[0], batch)[0])
    report(
        f"evaluation of {BATCH} users", lambda held: (jax.block_until_ready(evaluate(held, *given)), held)[1], variables
    )


def made_up() -> dict:
    """A batch of users who took items at random."""
    rng = np.random.default_rng(0)
    target = np.full((BATCH, PLACES), -1, np.int32)
    target[:, :TAKEN] = [rng.choice(ITEMS, TAKEN, replace=False) for _ in range(BATCH)]
    inputs = {"user": rng.integers(0, USERS, BATCH).astype(np.int32), "history": np.zeros((BATCH, 50), np.int32)}
    return jax.tree.map(jnp.asarray, {"input": inputs, "target": target, "index": np.arange(BATCH, dtype=np.int32)})


def edges() -> Graph:
    """Every user with as many items, different ones, drawn evenly."""
    rng = np.random.default_rng(1)
    pairs = np.unique(np.repeat(np.arange(USERS), TAKEN) * ITEMS + rng.integers(0, ITEMS, USERS * TAKEN))
    return Graph(pairs // ITEMS, pairs % ITEMS)


def trained(model, name: str, hyper: dict, batch: dict):
    """(a State as it begins, its step: State -> State)."""
    objective = Objective(model, (Term(name, getattr(losses, name), lambda step: jnp.float32(1), hyper),))
    optimizer = optax.adamw(1e-2, weight_decay=0.1)
    given = batch, None, None, None
    step = jax.jit(make_train_step(objective, optimizer), donate_argnums=0)
    return jax.jit(make_init(objective, optimizer))(jax.random.key(0), *given), lambda held: step(held, *given)[0]


def report(what: str, call, held, times: int = 3) -> None:
    """Prints what one call takes, the mean of a few after the first, which compiles."""
    held = jax.block_until_ready(call(held))
    began = time.process_time()
    for _ in range(times):
        held = jax.block_until_ready(call(held))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {(time.process_time() - began) / times:.2f} CPU seconds; memory {peak:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
