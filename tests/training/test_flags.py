"""XLA's flags: set where nobody set any, the same values up to rounding, one set of them from end to end of a run."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jaxlib
import numpy as np
import pytest

from kdjax import experiment
from kdjax.runs.directory import Run
from kdjax.training import flags
from tests import tiny

OPTIMIZED = True
GRADIENT = """
import os, sys
from kdjax.training import parallel
parallel.setup()
import jax, jax.numpy as jnp, numpy as np
x, w = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(32, 16, 16, 8), (3, 3, 8, 8)]))
def loss(w):
    y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.sum(jnp.tanh(y))
step = jax.jit(jax.grad(loss)).lower(w).compile()
np.save(sys.argv[1], step(w))
print(int("ynn_fusion" in step.as_text()), os.environ["XLA_FLAGS"])
"""


def gradient(path, **given):
    """(the gradient of a convolution's weights, what was said) of a fresh process, without XLA_FLAGS or with these."""
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"} | given
    command = [sys.executable, "-c", GRADIENT, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return np.load(path), done.stdout.split()


def test_flags_are_set_change_the_compiled_and_leave_the_values(tmp_path):
    values, said = gradient(tmp_path / "own.npy")
    plain, without = gradient(tmp_path / "plain.npy", XLA_FLAGS="")
    assert said == ["0", *flags.default(jaxlib.__version__, flags.cpus_alone(None)).split()]
    assert without == ["1"]  # set, be it empty: left alone
    np.testing.assert_allclose(values, plain, rtol=0, atol=1e-5 * np.abs(plain).max())


def test_an_unknown_jaxlib_is_told_nothing():
    tested = ("0.10.2", "0.11.2", "0.12.0.1")
    assert {flags.default(version, False) for version in tested} == {flags.CONVOLUTIONS}
    assert {flags.default(version, False) for version in ("0.9.9", "0.10.1", "0.13.0", "1.0.0")} == {""}


def test_the_level_of_optimization_is_set_for_cpus_alone(monkeypatch):
    assert flags.default("0.10.2", True) == f"{flags.CONVOLUTIONS} {flags.LEVEL}"
    assert flags.default("1.0.0", True) == flags.LEVEL
    assert flags.cpus_alone("cpu")
    assert not flags.cpus_alone("cuda,cpu")
    monkeypatch.setattr(flags, "find_spec", lambda name: None)
    for found in ([], ["xla_cuda12"]):
        monkeypatch.setattr(flags, "entry_points", lambda group, found=found: found)
        assert flags.cpus_alone(None) == (not found)


def test_flags_that_change_no_result_are_not_recorded(monkeypatch):
    jax.devices()  # XLA has read its flags: these are none of its own
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/x --xla_gpu_autotune_level=0 --xla_cpu_b=1 --xla_a=2")
    assert flags.told() == ["--xla_a=2", "--xla_cpu_b=1"]


def begun(path, config: dict) -> tuple[Run, Path]:
    """A run that has begun and its checkpoint, and that checkpoint."""
    run = Run(path)
    run.begin(config, None, print)
    checkpoint = run.checkpoints / "7"
    checkpoint.mkdir(parents=True)
    (checkpoint / "metrics.jsonl").write_text("")
    return run, checkpoint


def test_a_run_is_not_continued_under_other_flags(tmp_path):
    run, checkpoint = begun(tmp_path, {"method": "kd", "flags": ["--xla_a=1"]})
    run.begin({"method": "kd", "flags": ["--xla_a=1"]}, checkpoint, print)
    with pytest.raises(ValueError, match="XLA_FLAGS='--xla_a=1' for this command"):
        run.begin({"method": "kd", "flags": []}, checkpoint, print)


def test_flags_are_no_other_config_and_a_run_that_starts_over_takes_todays(tmp_path):
    run, _ = begun(tmp_path, {"method": "kd", "flags": []})
    run.check({"method": "kd"})
    run.begin({"method": "kd", "flags": ["--xla_a=1"]}, None, print)
    assert run.config()["flags"] == ["--xla_a=1"]


def test_an_experiment_records_its_flags(tmp_path):
    directory = experiment.run(tiny.config(methods=("student",), epochs=1), tmp_path, seeds=(0,))
    for method in ("teacher", "student"):
        run = Run(directory / method / "seed0")
        assert run.config()["flags"] == run.result()["flags"] == flags.told()


def test_a_run_that_recorded_no_flags_is_continued_and_says_so(tmp_path):
    (run, checkpoint), said = begun(tmp_path, {"method": "kd"}), []
    run.begin({"method": "kd", "flags": ["--xla_a=1"]}, checkpoint, said.append)
    assert any("did not record XLA's flags" in line for line in said)
