"""The only file that knows devices: where a student lives, and how its step is compiled.

Different students on different devices need no collective and scale best, so that is how a cohort is spread. On the
CPU each step is one call: inside `lax.scan` XLA's CPU backend computes the gradient of a convolution 50 to 100 times
slower than outside. On an accelerator, where small networks are bound by dispatch, a call takes several steps.
"""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding


def setup() -> None:
    """One virtual CPU device per core, and a compilation cache that outlives the process; call before JAX starts.

    XLA uses a second core poorly for small networks (1.1 times), two students on two devices use it well. What
    JAX's own flags say of either is left alone.
    """
    if jax.config.jax_num_cpu_devices < 0:
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    if not jax.config.jax_compilation_cache_dir:
        folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(folder, "kdjax", "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def describe() -> str:
    """The devices in words, "cpu x 2"."""
    devices = jax.devices()
    return f"{devices[0].device_kind} x {len(devices)}"


def device(number: int) -> jax.Device:
    """The device of the student with this number in its cohort."""
    devices = jax.local_devices()
    return devices[number % len(devices)]


def steps_per_call(asked: int) -> int:
    """How many steps one call takes; 0 asks for the default of this kind of device."""
    return asked or (1 if jax.default_backend() == "cpu" else 16)


def compile_step(train_step: Callable) -> Callable:
    """step(state, batch, teacher Outputs, teacher_params, train_labels) -> (state, losses), jitted, state donated.

    Batch and Outputs hold one step's [B, ...], or [S, B, ...] for S steps in one call; losses are [] or [S].
    """

    def call(state, batch, teacher, teacher_params, train_labels):
        if batch["index"].ndim == 1:
            return train_step(state, batch, teacher, teacher_params, train_labels)
        return jax.lax.scan(
            lambda state, xs: train_step(state, *xs, teacher_params, train_labels), state, (batch, teacher)
        )

    return jax.jit(call, donate_argnums=0)


def compile_teach(teach: Callable) -> Callable:
    """teach(variables, image [B, ...] or [S, B, ...]) -> Outputs with the same leading axes, jitted.

    S batches go through the teacher as one: it is in evaluation mode, so the result is the same.
    """

    def call(variables, image):
        if image.ndim == 4:
            return teach(variables, image)
        outputs = teach(variables, image.reshape(-1, *image.shape[2:]))
        return jax.tree.map(lambda x: x.reshape(*image.shape[:2], *x.shape[1:]), outputs)

    return jax.jit(call)


def compile_prepare(augment: Callable) -> Callable:
    """prepare(images, labels, indices [B] or [S, B], key, step [] or [S]) -> Batch, jitted.

    The key of step s of an epoch is fold_in(key, s): randomness is a function of (seed, epoch, step).
    """

    def one(images, labels, indices, key, step):
        image, label = augment(jax.random.fold_in(key, step), images[indices], labels[indices])
        return {"image": image, "label": label, "index": indices}

    def call(images, labels, indices, key, step):
        if indices.ndim == 1:
            return one(images, labels, indices, key, step)
        return jax.vmap(one, in_axes=(None, None, 0, None, 0))(images, labels, indices, key, step)

    return jax.jit(call)


def put(tree, to: jax.Device):
    """The tree on a device."""
    return jax.device_put(tree, to)


def on(tree, where: jax.Device):
    """Shapes of a tree of arrays, placed on a device: what a checkpoint is restored into."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=SingleDeviceSharding(where)), tree)


def epoch_key(seed: int, epoch: int) -> jax.Array:
    """The key of an epoch's augmentation; first stages have negative epochs."""
    return jax.random.fold_in(jax.random.key(seed), jnp.uint32(epoch % 2**32))
