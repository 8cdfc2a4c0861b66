"""Each benchmark runs, on sizes at which its figures mean nothing; nothing is timed here."""

import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """run(script, arguments...): what a script prints, in this process, which has imported what takes seconds."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of what it starts, as is the next
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def call(script: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "step", "growth", "digits", "losses", "convolve", "teach", "flags"])
def test_quick(name, run):
    if name in ("table", "digits"):
        pytest.importorskip("torch")
    before = {path: path.stat().st_mtime for path in (ROOT / "results" / "bench").glob("*")}
    out = run(f"bench_{name}.py", "--quick")
    assert {path: path.stat().st_mtime for path in (ROOT / "results" / "bench").glob("*")} == before
    expected = {"table": "'side': 'torch'", "step": "'teacher': 0.0", "growth": "'batch': 8", "digits": "'warm'"}
    expected["convolve"] = "'what': 'gradient'"
    expected["flags"] = "'without xla_backend_optimization_level'"
    expected["teach"] = "'network': 'resnet8x4'"
    assert expected.get(name, "'name': 'rkd'") in out


@pytest.fixture
def plain(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench_torch

    return bench_torch


def test_the_loops_losses_are_those_of_kdjax(plain):
    """Otherwise the two sides of the benchmark would not do the same."""
    import torch

    from kdjax.config import recipes
    from kdjax.config.rows import make_term
    from kdjax.types import Outputs

    rng = np.random.default_rng(0)

    def network(width):
        maps = [rng.normal(size=(6, 4, 4, width)).astype(np.float32) for _ in range(3)]
        logits = rng.normal(size=(6, 5)).astype(np.float32)
        embedding = maps[-1].mean((1, 2))
        theirs = (logits, [x.transpose(0, 3, 1, 2).copy() for x in maps], embedding)
        return Outputs(logits, tuple(maps), tuple(maps), embedding), tuple(
            [torch.as_tensor(x) for x in part] if isinstance(part, list) else torch.as_tensor(part) for part in theirs
        )

    (ours, s), (taught, t) = network(3), network(3)
    labels = rng.integers(0, 5, 6, dtype=np.int32)
    for name, loss in plain.LOSSES.items():
        terms = [
            make_term(key, {k: v for k, v in spec.items() if k != "warmup_epochs"}, 1, name)
            for key, spec in recipes.recipe(name).items()
        ]
        expected = sum(float(term.weight(0)) * float(term.fn(ours, taught, labels, **term.hyper)) for term in terms)
        assert float(loss(s, t, torch.as_tensor(labels).long())) == pytest.approx(expected, rel=2e-4), name


def test_the_loops_networks_have_kdjaxs_parameters(plain):
    import jax

    from kdjax import models

    for name in ("resnet20", "resnet8x4"):
        image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
        variables = jax.eval_shape(getattr(models, name)(num_classes=7).init, jax.random.key(0), image)
        count = sum(x.size for x in jax.tree.leaves(variables["params"]))
        assert sum(x.numel() for x in plain.build(name, 7).parameters()) == count


def test_resident_batches_are_crops_of_the_images(plain):
    image = np.arange(1, 1 + 4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3, 1)
    data = plain.Images(image, np.arange(4), (0.0,), (1.0,), 1, True)
    windows = [
        {
            (255 * flipped).round().astype(int).tobytes()
            for padded in [np.pad(x[..., 0].astype(np.float32) / 255, 1)]
            for i in range(3)
            for j in range(3)
            for crop in [padded[i : i + 3, j : j + 3]]
            for flipped in (crop, crop[:, ::-1])
        }
        for x in image
    ]
    loader = plain.Resident(data, 2, "cpu")
    for batches in (loader, plain.loader(data, 2, plain.Options())):
        seen = []
        for batch, labels in batches:
            seen += labels.tolist()
            for x, label in zip(batch, labels, strict=True):
                assert (255 * x[0].numpy()).round().astype(int).tobytes() in windows[label]
        assert sorted(seen) == [0, 1, 2, 3]
