"""Strict settings for every test: warnings are errors, no silent promotion.

What a file may say of itself, in a variable of its module:
  OPTIMIZED = True   its programs are compiled as users' are. Elsewhere LLVM optimizes nothing, in this process and in
                     those that it starts: XLA's own passes, and so the order of a sum, stay, and compiling, which is
                     most of what tests do, takes a third of the time. And XLA's CPU backend writes fused operations as
                     it did without MLIR (FUSIONS, of jaxlib 0.10), which takes a third to a half of the rest.
                     JAX_DISABLE_MOST_OPTIMIZATIONS=0 scripts/test compiles all of them as users' are.
  DEVICES = 8        it sees so many devices. Elsewhere it is two: each device more has programs compiled for it, and
                     takes a thread that compiles beside the others, with hundreds of megabytes for a large program.
  BY = "case"        its tests run case by case of that parameter, not test by test: what one compiles is at hand for
                     the next, and memory that fills up lets go of nothing that is wanted again.
  COSTS = True       what networks cost is measured whenever it is asked for. Elsewhere once: it is two fifths of what a
                     run of tests/tiny.py takes, and many have the same networks.
"""

import ctypes
import faulthandler
import functools
import gc
import os
import resource
import tempfile
from pathlib import Path

import jax
import jaxlib.version
import pytest
from jax._src import compiler  # XLA_FLAGS is read once a process: no public option is of one file

from kdjax import cli, cores
from kdjax.models import cost
from kdjax.training import parallel

CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.path.join(tempfile.gettempdir(), "kdjax-test-xla")
PLAIN = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
"""Of the files that do not say OPTIMIZED, for the processes that they start too."""
FUSIONS = "xla_cpu_use_fusion_emitters"
"""Whether XLA builds a module of MLIR for each fusion, on which most of its time goes where LLVM optimizes nothing."""
FUSIONS_KNOWN = jaxlib.version.__version_info__ < (0, 11)
"""Later ones have no such flag, and one that XLA does not know ends a process."""
ROOM = {"bytes": 1.2e9}
PEAKS = pytest.StashKey[dict]()
jax.config.update("jax_compilation_cache_dir", CACHE)  # many tests compile the same steps
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_num_cpu_devices", 8)
faulthandler.enable()  # pytest reports crashes, not kdjax in the compilation cache
parallel.setup()  # XLA's flags, before anything is computed: as on the command line
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def _settings_of_one_file(request):
    """OPTIMIZED, DEVICES and COSTS."""
    every, all_of, count = jax.local_devices, jax.devices, getattr(request.module, "DEVICES", 2)
    plain = "0" if getattr(request.module, "OPTIMIZED", False) else PLAIN
    jax.config.update("jax_disable_most_optimizations", plain == "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", plain)
        patch.setattr(jax, "local_devices", lambda *args, **kwargs: every(*args, **kwargs)[:count])
        patch.setattr(jax, "devices", lambda *args, **kwargs: all_of(*args, **kwargs)[:count])
        patch.setattr(jax, "device_count", lambda *args: len(jax.local_devices(*args)))
        if plain == "1" and FUSIONS_KNOWN:
            patch.setattr(compiler, "get_compile_options", plain_options)
            patch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --{FUSIONS}=false".lstrip())
        if not getattr(request.module, "COSTS", False):
            patch.setattr(cost, "cost", cost_once)
        yield


@pytest.fixture(autouse=True, scope="module")
def _memory_of_one_file():
    """Lets go of what a file has compiled, after its own fixtures."""
    yield
    let_go()


@pytest.fixture(autouse=True)
def _memory_of_one_test():
    """Lets go of it earlier in a file that compiles gigabytes; what is called again is read from the cache on disk."""
    yield
    if resident() > ROOM["bytes"]:
        let_go()
        ROOM["bytes"] = max(1.2e9, 1.2 * resident())  # what a file's own arrays hold is not looked for at every test


def plain_options(*args, make=compiler.get_compile_options, **kwargs):
    """What XLA is told of a program."""
    told = {FUSIONS: False, **(kwargs.pop("env_options_overrides", None) or {})}
    return make(*args, env_options_overrides=told, **kwargs)


def cost_once(model, spec) -> dict:
    """`kdjax.models.cost.cost`, of each model and shape the first that was measured."""
    leaves, structure = jax.tree.flatten(spec)
    return dict(_costs(model, structure, tuple(leaves)))


@functools.cache
def _costs(model, structure, leaves, measure=cost.cost) -> dict:
    return measure(model, jax.tree.unflatten(structure, leaves))


def let_go() -> None:
    """A program holds megabytes, and some of the memory mappings of which Linux gives a process 65,530; without them
    the next load of a program is a segmentation fault. glibc keeps what is freed for the thread that asked for it, a
    gigabyte and more of what compiling has taken, unless it is told to give it back.
    """
    jax.clear_caches()
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


def pytest_collection_finish():
    """What is imported by now stays: without it the collector looks at a million objects less each time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Files with slow tests first: one that a worker begins last is one that the others wait for. In it, by `BY`."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    seen = {}
    rank = {item: seen.setdefault(_of(item), len(seen)) for item in items}
    items.sort(key=lambda item: (item.path not in slow, rank[item]))


def _of(item) -> tuple:
    """The file, and where it says `BY` the value of that parameter, as its tests share it."""
    by, given = getattr(item.module, "BY", None), getattr(item, "callspec", None)
    return item.path, id(given.params[by]) if given and by in given.params else None


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak_bytes"] = cores.peak()


def pytest_testnodedown(node):
    node.config.stash.setdefault(PEAKS, {})[node.gateway.id] = getattr(node, "workeroutput", {}).get("peak_bytes", 0)


def pytest_terminal_summary(terminalreporter, config):
    if peaks := config.stash.get(PEAKS, {}):
        shown = ", ".join(f"{name} {peak / 1e9:.1f}" for name, peak in sorted(peaks.items()))
        terminalreporter.write_line(f"memory of the workers in GB, at the most: {shown}")


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
