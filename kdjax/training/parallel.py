"""The only file that knows devices: where a cohort lives, and how its steps are compiled.

`config.execution.devices` chooses between

  students  a cohort's students on different devices: no collective, one teacher pass; scales best with many methods
  seeds     cohorts of several seeds at once, each on its own device, or on its share of them where there are more
  batch     every batch split over all devices of all processes, by `jax.pmap`
  one       everything on the first device

A batch that is split gives what one device gives: losses see the whole of it (`lax.all_gather` of student and
teacher Outputs), BatchNorm averages over it, gradients are averaged. Seeds need no collective, so each cohort is
driven by a thread of its own and not in lockstep with the others by one `pmap`: a run that resumes, diverges or is
finished holds up no other.

On the CPU some convolutions are computed in other forms (kdjax/models/convolve.py), and each step is one call: inside
`lax.scan` XLA's CPU backend computes the gradient of a convolution 50 to 100 times slower than outside. On an
accelerator, where small networks are bound by dispatch, a call takes several.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from kdjax.cores import cores
from kdjax.models import convolve
from kdjax.training import crash, flags, reads
from kdjax.training.objective import Objective
from kdjax.training.step import make_train_step

AXIS = "batch"
"""The name of the axis over which a batch is split."""

SPREAD_FLOPS = 2e9
"""A teacher that needs more for a batch is computed at all places of a CPU; below, dispatch costs more than is won."""


def setup() -> None:
    """One virtual CPU device per core beside what else there is, XLA's flags, a compilation cache that outlives this.

    Call before JAX starts. XLA uses a second core poorly for small networks (1.1 times), two students on two devices
    use it well. What JAX's own flags say of devices or the cache is left alone, and so is XLA_FLAGS where it is set,
    be it empty. After a crash the cache is begun anew.
    """
    os.environ.setdefault("XLA_FLAGS", flags.default(jaxlib.__version__, flags.cpus_alone(jax.config.jax_platforms)))
    jax.config.update("jax_platforms", platforms(jax.config.jax_platforms))
    if jax.config.jax_num_cpu_devices < 0:
        jax.config.update("jax_num_cpu_devices", cores())
    if not jax.config.jax_compilation_cache_dir:
        folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(folder, "kdjax", "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if "://" not in jax.config.jax_compilation_cache_dir:
        with contextlib.suppress(OSError):  # a cache that cannot be written, which JAX leaves alone too
            if told := crash.watch(Path(jax.config.jax_compilation_cache_dir)):
                print(f"kdjax: {told}", file=sys.stderr)


def platforms(asked: str | None) -> str | None:
    """JAX's platforms ("cuda"), and the CPU after them, which counts operations (`kdjax.models.cost.count`)."""
    return asked if not asked or "cpu" in asked.split(",") else f"{asked},cpu"


def compiling_threads() -> int:
    """How many programs are compiled at once: one a CPU device; for an accelerator the host's cores are free."""
    return len(jax.local_devices()) if jax.default_backend() == "cpu" else cores()


def describe() -> str:
    """The devices in words, "cpu x 2"."""
    devices = jax.devices()
    return f"{devices[0].device_kind} x {len(devices)}"


@dataclasses.dataclass(frozen=True)
class Place:
    """Devices of this process that hold the same state, and the parts that a batch is split into."""

    devices: tuple[jax.Device, ...]
    parts: int = 1  # over all processes; 1: not split
    first: int = 0  # the part of the first of `devices`

    @property
    def sharding(self) -> Sharding:
        """That of a tree of which every device holds a copy."""
        if len(self.devices) == 1 and self.parts == 1:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(Mesh(np.array(self.devices), AXIS), PartitionSpec())

    @property
    def compiled_for(self):
        """What a compiled step belongs to: these devices, or when batches are not split any one."""
        return self if self.parts > 1 else None

    @property
    def whole(self) -> "Place":
        """The same devices, each with whole batches."""
        return Place(self.devices)

    def put(self, tree):
        """The tree on every device."""
        return jax.device_put(tree, self.sharding)

    def put_parts(self, array: np.ndarray) -> jax.Array:
        """An array [D, ...] with a part on each device; [...] whole where batches are not split."""
        if self.parts == 1:
            return self.put(array)
        return jax.device_put(array, NamedSharding(self.sharding.mesh, PartitionSpec(AXIS)))

    def on(self, tree):
        """Shapes of a tree of arrays, placed here: what a checkpoint is restored into."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.sharding), tree)

    def shares(self, rows: np.ndarray) -> np.ndarray:
        """[..., B] -> [D, ..., B / parts]: what each of the D devices here has of a batch; unsplit as it is."""
        if self.parts == 1:
            return rows
        parts = np.stack(np.split(rows, self.parts, axis=-1))
        return parts[self.first : self.first + len(self.devices)]

    def take(self, tree):
        """A batch, or what was made of it, from the first place of its cohort: split batches have only one."""
        return tree if self.parts > 1 else self.put(tree)

    def pmap(self, call: Callable, in_axes, out_axes, **options) -> Callable:
        """`call` on all parts of a batch at once, each on its device, wherever that is."""
        devices = self.devices if self.parts == len(self.devices) else None  # None: those of all processes
        return jax.pmap(call, AXIS, in_axes=in_axes, out_axes=out_axes, devices=devices, **options)


def layout(mode: str, cohorts: int) -> list[tuple[Place, ...]]:
    """For each cohort that runs at the same time, the places of its students; the first one holds the data."""
    devices = jax.local_devices()
    if jax.process_count() > 1 and mode != "batch":
        raise ValueError(f"config.execution.devices: several processes share batches, 'batch', not {mode!r}")
    if mode == "batch":
        parts = jax.device_count()
        if parts != jax.process_count() * len(devices):
            raise ValueError(
                f"config.execution.devices 'batch': the {jax.process_count()} processes have {parts} devices in all, "
                f"this one {len(devices)}; all must have the same number"
            )
        first = jax.process_index() * len(devices) if parts > 1 else 0
        return [(Place(tuple(devices), parts, first),)]
    if mode == "seeds":
        share = max(1, len(devices) // cohorts)
        groups = [tuple(devices[i : i + share]) for i in range(0, len(devices) - share + 1, share)]
        return [(Place(group, share),) for group in groups[:cohorts]]
    return [tuple(Place((device,)) for device in (devices if mode == "students" else devices[:1]))]


def check_divides(size: int, parts: int, field: str) -> None:
    """Raises a ValueError unless a batch of that size can be split; it says which sizes can."""
    if size % parts:
        nearest = [n for n in (size - size % parts, size - size % parts + parts) if n]
        raise ValueError(
            f"{field}: {size} examples do not divide by the {parts} devices that share a batch; "
            f"{' or '.join(map(str, nearest))} do, as every multiple of {parts}"
        )


def check_synchronises(model: nn.Module, spec, field: str) -> None:
    """Raises a ValueError if splitting batches would change what a model, or one that is part of it, computes.

    Args:
      spec: the shapes of one example, a pytree of jax.ShapeDtypeStruct.
    """
    alone = []

    def watch(call, args, kwargs, context):
        result, module = call(*args, **kwargs), context.module
        own = module.variables.get("batch_stats", {})
        if not all(isinstance(value, Mapping) for value in own.values()) and not getattr(module, "axis_name", None):
            alone.append("/".join(module.path) or type(module).__name__)
        return result

    made = jax.vmap(partial(synchronised(model).init, train=True), axis_name=AXIS)
    with nn.intercept_methods(watch):
        two = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, 2, *leaf.shape), leaf.dtype), spec)
        jax.eval_shape(made, jax.random.split(jax.random.key(0), 1), two)
    if alone:
        raise ValueError(
            f"{field}: {alone[0]} of {type(model).__name__} has batch statistics but no axis_name, so that on several "
            "devices each would use its own; give the model a field `axis_name: str | None = None`, passed to every "
            "nn.BatchNorm, or set config.execution.devices to 'students'"
        )


def synchronised(model: nn.Module) -> nn.Module:
    """The model with `axis_name` set, in itself and in the models that are its fields."""

    def changed(value):
        if isinstance(value, nn.Module):
            return synchronised(value)
        return tuple(map(changed, value)) if isinstance(value, tuple) else value

    fields = [f.name for f in dataclasses.fields(model) if f.init and f.name not in ("parent", "name")]
    values = {name: AXIS if name == "axis_name" else changed(getattr(model, name)) for name in fields}
    return model.clone(**values)


def gather(tree):
    """The parts of a batch, or of what was made of it, as the whole on every device."""
    return jax.lax.all_gather(tree, AXIS, tiled=True)


def steps_per_call(asked: int) -> int:
    """How many steps one call takes; 0 asks for the default of this kind of device."""
    return asked or (1 if jax.default_backend() == "cpu" else 16)


def compile_train_step(objective: Objective, optimizer: optax.GradientTransformation, place: Place) -> Callable:
    """step(state, batch, teacher Outputs, teacher_params, train_labels) -> (state, losses), state donated.

    Batch and Outputs hold those of S steps, [S, B, ...], which one call takes; losses are [S]. At a place that splits
    batches they have another axis before these, the place's devices.

    Each device computes the same loss of the whole batch. The gradient of the sum of these, which is what backward
    passes through collectives give, is `parts` times a part's share of the student's, and the whole gradient of what
    a loss has of its own: in both cases the mean over devices is the gradient of one device.
    """
    if place.parts > 1:
        objective = objective.clone(student=synchronised(objective.student), gather=gather)
        average = partial(jax.lax.pmean, axis_name=AXIS)
        train_step = make_train_step(objective, optimizer, average, part=partial(jax.lax.axis_index, AXIS))
    else:
        train_step = make_train_step(objective, optimizer)

    @convolve.fast()
    def call(state, batch, teacher, teacher_params, train_labels):
        if len(batch["index"]) == 1:  # a loop of one turn would be slow on a CPU, see above
            state, losses = train_step(state, *first((batch, teacher)), teacher_params, train_labels)
            return state, jax.tree.map(lambda loss: loss[None], losses)
        return jax.lax.scan(
            lambda state, xs: train_step(state, *xs, teacher_params, train_labels), state, (batch, teacher)
        )

    if place.parts == 1:
        return jax.jit(call, donate_argnums=0)
    return place.pmap(call, (None, 0, 0, None, None), None, donate_argnums=0)


def compile_teach(
    teach: Callable, place: Place, places: tuple[Place, ...] = (), paths: frozenset | None = None
) -> Callable:
    """teach(variables, input [S, B, ...]) -> Outputs with the same leading axes.

    Of these, what `paths` names (`reads.read`); None: all.

    S batches go through the teacher as one: it is in evaluation mode, so the result is the same. At a place that
    splits batches inputs have another axis before these, its devices.

    Where students are at several `places` of a CPU, a large teacher computes a share of the batch at each: that is
    faster than what XLA makes of all cores for one device. The result is at the first place, equal up to rounding,
    which therefore depends on the number of places.
    """

    @convolve.fast()
    def call(variables, inputs):
        steps, size = jax.tree.leaves(inputs)[0].shape[:2]
        outputs = teach(variables, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), inputs))
        outputs = outputs if paths is None else reads.keep(outputs, paths)
        return jax.tree.map(lambda x: x.reshape(steps, size, *x.shape[1:]), outputs)

    whole = jax.jit(call)
    if len(places) > 1 and jax.default_backend() == "cpu":
        return _spread(whole, places)
    if place.parts == 1:
        return whole
    return place.pmap(call, (None, 0), 0)


def _spread(whole: Callable, places: tuple[Place, ...]) -> Callable:
    """`whole`, computed at all places at once where that is worth it and the batch divides by their number.

    Every leaf of what it returns must have [S, B] as its first axes, as those of Outputs have.
    """

    @partial(jax.jit, static_argnums=2)
    def share(inputs, start, size):
        return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size, axis=1), inputs)

    join = jax.jit(lambda *shares: jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *shares))
    enough = {}  # shapes of the inputs -> whether it is worth it
    held = {"variables": None, "copies": []}  # the last variables, and their copy at each place

    def large(variables, inputs):
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(inputs))
        if shapes not in enough:
            enough[shapes] = whole.lower(variables, inputs).cost_analysis().get("flops", 0) > SPREAD_FLOPS
        return enough[shapes]

    def spread(variables, inputs):
        steps, batch = jax.tree.leaves(inputs)[0].shape[:2]
        if steps > 1 or batch % len(places) or not large(variables, inputs):
            return whole(variables, inputs)
        if held["variables"] is not variables:
            held.update(variables=variables, copies=[place.put(variables) for place in places])
        size = batch // len(places)
        # All shares before the first computation: what a device is given waits for what it was given before.
        shares = [place.put(share(inputs, i * size, size)) for i, place in enumerate(places)]
        outputs = [whole(copy, part) for copy, part in zip(held["copies"], shares, strict=True)]
        return join(*places[0].put(outputs))

    return spread


def compile_batch(augment: Callable, place: Place, streamed: bool = False, views: bool = False) -> Callable:
    """make_batch(inputs, targets [N, ...], indices [S, B], key, step [S]) -> Batch [S, B, ...].

    `augment(key, inputs, targets)` is that of a `kdjax.data.arrays.Kind`: it gives the Batch's inputs by name.

    `inputs` are the whole training set's, a pytree of [N, ...], or when `streamed` those at `indices`. `key` is the
    epoch's, that of its step s fold_in(key, s): randomness is a function of (seed, epoch, step). At a place that
    splits batches `indices`, and streamed inputs, have another axis before these, its devices; each augments the whole
    batch, so that an image's partner in a mixture may be another device's, and keeps its part.

    With `views` an example is augmented alone, by fold_in(key, its index): whatever else is in its batch.
    """

    def one_view(key, index, *example):
        made = augment(jax.random.fold_in(key, index), *jax.tree.map(lambda x: x[None], example))
        return jax.tree.map(lambda x: x[0], made)

    def one(inputs, targets, indices, key, step, parts):
        raw = (inputs if streamed else jax.tree.map(lambda x: x[indices], inputs), targets[indices])
        if views:
            made = jax.vmap(one_view, (None, 0, 0, 0))(key, indices, *raw)
            return {**made[0], "target": made[1], "index": indices}
        made = augment(jax.random.fold_in(key, step), *(gather(raw) if parts > 1 else raw))
        if parts > 1:
            own = partial(jax.lax.dynamic_slice_in_dim, start_index=jax.lax.axis_index(AXIS) * len(indices))
            made = jax.tree.map(lambda x: own(x, slice_size=len(indices)), made)
        return {**made[0], "target": made[1], "index": indices}

    def call(inputs, targets, indices, key, step, parts=1):
        if len(indices) == 1:
            own = first(inputs) if streamed else inputs
            return jax.tree.map(lambda x: x[None], one(own, targets, indices[0], key, step[0], parts))
        axes = (0 if streamed else None, None, 0, None, 0)
        return jax.vmap(partial(one, parts=parts), in_axes=axes)(inputs, targets, indices, key, step)

    if place.parts == 1:
        return jax.jit(call)
    return place.pmap(partial(call, parts=place.parts), (0 if streamed else None, None, 0, None, None), 0)


def first(tree):
    """The first of the S that every leaf [S, ...] holds."""
    return jax.tree.map(lambda x: x[0], tree)
