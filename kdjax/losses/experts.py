"""Losses on vectors of users and items, which the teacher has in more dimensions than the student.

A user's vector is the `embedding` of Outputs, an item's a row of params["items"]["embedding"]
(kdjax.models.interactions). Of items a batch has one that each user is to get and as many drawn evenly from the
catalogue.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.losses.common import embeddings, torch_default, uniform
from kdjax.losses.items import items_of, table_of


def vectors(loss: str, student, teacher, target, student_params, teacher_params, key):
    """(users [B, D], [B, D'] of student and teacher), (items [2B, D], [2B, D']).

    Raises:
      ValueError: a network has no vectors of items.
    """
    users = embeddings(loss, student, teacher)
    tables = [table_of(loss, *pair)[0] for pair in (("student", student_params), ("teacher", teacher_params))]
    if len(tables[0]) != len(tables[1]):
        raise ValueError(f"{loss}: the student has {len(tables[0])} items, the teacher {len(tables[1])}")
    positive, counts, _ = items_of(loss, target, len(tables[0]))
    one, draw = jax.random.split(key)
    place = jax.random.categorical(one, jnp.where(counts > 0, 0.0, -1e9))[:, None]
    taken = jnp.take_along_axis(positive, place, axis=1)[:, 0]
    drawn = jax.random.randint(draw, taken.shape, 0, len(tables[0]), taken.dtype)
    items = jnp.concatenate([taken, drawn])
    return users, tuple(table[items] for table in tables)


class Experts(nn.Module):
    """Guesses the teacher's vectors by networks of one hidden layer, of which the teacher's vector chooses one each.

    The choice is Gumbel's softmax with noise [n, E], so that it can be learned: softmax((log gate + noise) / T).
    """

    experts: int

    @nn.compact
    def __call__(self, own, taught, noise, temperature: float):
        """[n, D], [n, D'] -> [n, D']."""
        width = taught.shape[-1]
        gate = jax.nn.softmax(self._dense(self.experts, taught.shape[-1], "gate")(taught)) + 1e-10
        choice = jax.nn.softmax((jnp.log(gate) + noise) / temperature)
        hidden = (own.shape[-1] + width) // 2
        guesses = [
            self._dense(width, hidden, f"expert_{number}_1")(
                nn.relu(self._dense(hidden, own.shape[-1], f"expert_{number}_0")(own))
            )
            for number in range(self.experts)
        ]
        return jnp.sum(jnp.stack(guesses, -1) * choice[:, None], -1)

    def _dense(self, width: int, inputs: int, name: str) -> nn.Dense:
        return nn.Dense(width, kernel_init=torch_default, bias_init=uniform(inputs**-0.5), name=name)


def guessed(own, taught, noise, experts: int, temperature: float, name: str):
    """Mean over vectors of the squared distance of `Experts`' guess to the teacher's; the parameters are `name`'s."""
    guess = Experts(experts, name=name)(own, taught, noise, temperature)
    return jnp.mean(jnp.sum(jnp.square(taught - guess), -1))


def de(student, teacher, target, *, key, student_params, teacher_params, experts=5, temperature=0.1):
    """Distillation Experts. Kang et al. 2020, arXiv:2012.04357.

    Mean over users, plus mean over items, of the squared distance of the teacher's vector to what one of several small
    networks makes of the student's; see `Experts`. The authors' code sums over both and cools the temperature from 1 to
    nearly 0; here it stays.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      temperature: of the choice; near 0 one expert guesses, above 1 all do.
    """
    draw, noise = jax.random.split(key)
    pairs = vectors("de", student, teacher, target, student_params, teacher_params, draw)
    values = []
    for number, (name, pair) in enumerate(zip(("users", "items"), pairs, strict=True)):
        gumbel = jax.random.gumbel(jax.random.fold_in(noise, number), (len(pair[0]), experts))
        values.append(guessed(*pair, gumbel, experts, temperature, name))
    return values[0] + values[1]


def ftd(student, teacher, target, *, key, student_params, teacher_params):
    """Full Topology Distillation. Kang et al. 2021, arXiv:2106.08700.

    The cosines between all users and items of the batch are to be the teacher's: the sum of their squared differences,
    over the number of users and items, by which the authors' code does not divide.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
    """
    users, items = vectors("ftd", student, teacher, target, student_params, teacher_params, key)
    own, taught = (jnp.concatenate(pair) for pair in zip(users, items, strict=True))
    return topology(own, taught) / len(own)


def cosines(x, y):
    """[n, D], [m, D] -> [n, m]; 0 beside a vector of zeros, with a finite gradient."""
    unit = lambda v: v * jax.lax.rsqrt(jnp.maximum(jnp.sum(v * v, -1, keepdims=True), 1e-12))  # noqa: E731
    return unit(x) @ unit(y).T


def topology(own, taught):
    """Sum over pairs of vectors [n, D], [n, D'] of the squared difference of their cosines."""
    return jnp.sum(jnp.square(cosines(own, own) - cosines(taught, taught)))


def htd(
    student, teacher, target, *, key, student_params, teacher_params, groups=10, temperature=0.1, gamma=0.5, first=False
):
    """Hierarchical Topology Distillation. Kang et al. 2021, arXiv:2106.08700.

    gamma times the topology (`grouped_topology`, over the number of users and items) plus 1 - gamma times what makes
    the groups: `de` with an expert a group; each vector is in the group of the largest gate.

    Args:
      target: items [B, L] (kdjax.losses.items) or classes [B].
      groups: of users, and as many of items.
      first: compare groups with groups, Group(P, P), and not groups with users and items, Group(P, e). The authors'
        code keeps gradients from the groups' means, so that with it only pairs within a group are learned from.
    """
    draw, noise = jax.random.split(key)
    pairs = vectors("htd", student, teacher, target, student_params, teacher_params, draw)
    value, group = 0.0, []
    for number, (name, (own, taught)) in enumerate(zip(("users", "items"), pairs, strict=True)):
        module = Experts(groups, name=name)
        gumbel = jax.random.gumbel(jax.random.fold_in(noise, number), (len(own), groups))
        value += jnp.mean(jnp.sum(jnp.square(taught - module(own, taught, gumbel, temperature)), -1))
        gate = module.variables["params"]["gate"]
        group.append(number * groups + jnp.argmax(taught @ gate["kernel"] + gate["bias"][None], -1))
    own, taught = (jnp.concatenate(pair) for pair in zip(*pairs, strict=True))
    shape = grouped_topology(own, taught, jnp.concatenate(group), 2 * groups, first)
    return gamma * shape / len(own) + (1 - gamma) * value


def grouped_topology(own, taught, group, groups: int, first: bool):
    """Squared differences of cosines: within groups, where the teacher's is above 0, and of the groups' means.

    Args:
      own, taught: [n, D], [n, D'] of student and teacher; group: [n] of each, 0 <= group < groups.
      first: cosines of means with means, else of means with all vectors. No gradient reaches the means.
    """
    member = jax.nn.one_hot(group, groups, dtype=own.dtype)  # [n, G]
    size = member.sum(0)
    there = (size > 0).astype(own.dtype)
    share = member.T / jnp.maximum(size, 1.0)[:, None]
    means = [jax.lax.stop_gradient(share @ x) for x in (own, taught)]
    teacher, student = cosines(taught, taught), cosines(own, own)
    within = (member @ member.T > 0) & (teacher > 0)
    value = jnp.sum(jnp.where(within, jnp.square(student - teacher), 0.0))
    others = means if first else (own, taught)
    pairs = jnp.square(cosines(means[0], others[0]) - cosines(means[1], others[1]))
    return value + jnp.sum(pairs * there[:, None] * (there[None] if first else 1.0))
