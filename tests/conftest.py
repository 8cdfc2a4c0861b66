"""Strict settings for every test: warnings are errors, no silent promotion, eight virtual CPU devices."""

import os
import tempfile
from pathlib import Path

import jax
import pytest

from kdjax import cli, parallel

CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.path.join(tempfile.gettempdir(), "kdjax-test-xla")
jax.config.update("jax_compilation_cache_dir", CACHE)  # many tests compile the same steps
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_num_cpu_devices", 8)
parallel.setup()  # XLA's flags, before anything is computed: as on the command line
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data sets that development machines have; KDJAX_SHARED_DATA names it."""
    folder = os.environ.get("KDJAX_SHARED_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("KDJAX_SHARED_DATA names no folder with the shared data sets")
    return Path(folder)


@pytest.fixture
def kdjax(capsys, monkeypatch):
    """Runs a command in this process: (exit status, what it printed, its error messages)."""
    monkeypatch.chdir(Path(__file__).parent.parent)

    def call(*argv):
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(a) for a in argv])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return exit_.value.code, printed.out, printed.err

    return call
