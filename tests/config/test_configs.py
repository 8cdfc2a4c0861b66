"""Every config in configs/ is built and each of its methods traced on shapes: unexecuted configs rot."""

from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

from kdjax import cli, experiment
from kdjax.config import default, differences, parse_arg, plain, recipes, resolve
from kdjax.config import rows as rows
from kdjax.config.optimizer import make_optimizer
from kdjax.config.trace import check
from kdjax.report import table
from kdjax.runs.directory import Run
from kdjax.types import batch_of, text_spec

DEVICES = 1  # what trains here is no test of places, and programs of CIFAR-100 are large
CONFIGS = Path(__file__).parents[2] / "configs"
INTERACTIONS = {"user": jax.ShapeDtypeStruct((), jnp.int32), "history": jax.ShapeDtypeStruct((6,), jnp.int32)}
LISTS = {
    "features": jax.ShapeDtypeStruct((8, 20), jnp.float32),
    "mask": jax.ShapeDtypeStruct((8,), jnp.bool_),
}
SEARCH = {
    "query": text_spec(8),
    "documents": {name: jax.ShapeDtypeStruct((3, 8), leaf.dtype) for name, leaf in text_spec(8).items()},
    "mask": jax.ShapeDtypeStruct((3,), jnp.bool_),
}
CASES = {  # file and argument -> (shape of an input, or its spec, number of outputs)
    "photographs.py": ((8, 8, 1), 10),
    "photographs.py:path=images,size=64,teacher=resnet20,student=resnet8": ((64, 64, 3), 5),
    "searches.py": (LISTS, 1),
    "searches.py:path=lists": (LISTS, 1),
    "products_search.py:path=offers.csv": (SEARCH, 1),
    "diabetes.py": ((10,), 1),
    "digits.py": ((8, 8, 1), 10),
    "digits_fewshot.py:shots=20": ((8, 8, 1), 10),
    "ablations/temperature.py": ((8, 8, 1), 10),
    "ablations/weight.py": ((8, 8, 1), 10),
    "ablations/digits_weights.py": ((8, 8, 1), 10),
    "cifar10.py:teacher=resnet14,student=resnet8": ((32, 32, 3), 10),
    "cifar10_short.py": ((32, 32, 3), 10),
    "cifar10_fewshot.py": ((32, 32, 3), 10),
    "cifar10_gpu.py": ((32, 32, 3), 10),
    "cifar100.py:teacher=resnet56,student=resnet20": ((32, 32, 3), 100),
    "cifar100.py:teacher=resnet32x4,student=shufflenetv1": ((32, 32, 3), 100),
    "folder.py:path=images,teacher=resnet14": ((64, 64, 3), 5),
    "products.py:path=images": ((64, 64, 3), 5),
    "products.py:path=images,size=96,teacher=resnet20,student=squeezenet,assistant=resnet14": ((96, 96, 3), 5),
    "digits_pairs.py": ((8, 8, 1), 10),
    "digits_small.py": ((8, 8, 1), 10),
    "queries.py:student=bert": (text_spec(8), 8),
    "interactions.py": (INTERACTIONS, 60),
    "interactions.py:path=u.data,model=sasrec": (INTERACTIONS, 60),
    "citeulike.py:path=folder": (INTERACTIONS, 60),
    "sequences.py": (INTERACTIONS, 60),
    "reviews.py:path=reviews.tsv,student=bert": (text_spec(8), 2),
    "reviews.py:path=reviews.tsv": (text_spec(8), 2),
    "reviews.py:path=reviews.tsv,transfer=others.txt": (text_spec(8), 2),
    "titles.py:path=offers.csv": (text_spec(8), 10),
    "titles.py:path=offers.csv,student=bert": (text_spec(8), 10),
    "chinese.py:path=reviews.csv": (text_spec(8), 2),
    "sst2.py:path=SST-2": (text_spec(8), 2),
    "sst2.py:path=SST-2,student=bilstm": (text_spec(8), 2),
    "products_lite.py:path=images,student=squeezenet,begin=s.safetensors": ((96, 96, 3), 5),
    "products_lite.py:path=images,student=lenet,shots=5": ((96, 96, 3), 5),
    "products_small.py:path=images,teacher=resnet20,student=resnet8": ((64, 64, 3), 5),
    "products_fewshot.py:path=images,shots=5,teacher=resnet20,student=lenet": ((32, 32, 3), 5),
    "products_fewshot.py:path=images,shots=0,teacher=resnet14,student=resnet8x4": ((32, 32, 3), 5),
    "ablations/products_grid.py:path=images,teacher=resnet20,student=resnet8": ((32, 32, 3), 5),
}


LAYERS = ("kd", "attention", "rkd", "crd", "reviewkd", "simkd")
FEW = {  # one row of each kind that is new here, of logits, maps, embeddings, ...: test_recipes traces every recipe
    "interactions.py:path=u.data,model=sasrec": ("student", "rrd"),
    "sequences.py": ("student", "rrd"),
    "cifar10.py:teacher=resnet14,student=resnet8": LAYERS,
    "cifar10_gpu.py": LAYERS,
    "cifar10_short.py": LAYERS,
    "cifar10_fewshot.py": ("kd",),
    "cifar100.py:teacher=resnet56,student=resnet20": LAYERS,
    "cifar100.py:teacher=resnet32x4,student=shufflenetv1": LAYERS,
    "folder.py:path=images,teacher=resnet14": LAYERS,
    "products.py:path=images": LAYERS,
    "products.py:path=images,size=96,teacher=resnet20,student=squeezenet,assistant=resnet14": (
        *("attention", "crd", "vid", "fitnet", "assistant", "kd_assistant"),
    ),
    "products_lite.py:path=images,student=squeezenet,begin=s.safetensors": ("kd",),
    "sst2.py:path=SST-2": ("kd", "pkd"),
    "reviews.py:path=reviews.tsv,student=bert": ("kd", "distilbert_layers", "kd_small"),
}


def kinds(methods) -> list[str]:
    """The names of rows of which none differs from an earlier one in nothing but numbers: these trace alike."""
    kind = lambda spec: jax.tree.map(lambda x: float if isinstance(x, float) and x else x, spec)  # noqa: E731
    seen = {}
    for row in methods:
        seen.setdefault(repr((kind(row.spec), kind(row.model_config))), row.name)
    return list(seen.values())


def test_no_config_is_left_out():
    assert {str(p.relative_to(CONFIGS)) for p in CONFIGS.rglob("*.py")} == {name.partition(":")[0] for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_config(name):
    shape, outputs = CASES[name]
    config = resolve(cli.load_config(str(CONFIGS / name), []))
    known = {"vocabulary": 50} if "tokens" in shape or "query" in shape else {"users": 9} if "user" in shape else {}
    rows_teach = config.methods.get("wide")  # a row that teaches the others
    taught = config.teacher if config.teacher.model else rows_teach.student if rows_teach else config.student
    teacher = rows.build_model(taught, outputs, config.dtype, "config.teacher", known)
    spec = shape if isinstance(shape, dict) else jax.ShapeDtypeStruct(shape, jnp.float32)
    items = shape["mask"].shape if shape is LISTS or shape is SEARCH else ()
    dtype = jnp.float32 if outputs == 1 else jnp.int32
    places = (9,) if shape is INTERACTIONS else items
    targets, target = (jax.ShapeDtypeStruct((examples, *places), dtype) for examples in (100, 2))
    logits, side = items[0] if items else outputs, config.teacher.image_size
    seen = jax.ShapeDtypeStruct((side, side, 3), jnp.float32) if side else spec
    variables = jax.eval_shape(lambda x: teacher.init(jax.random.key(0), x, train=False), batch_of(seen, 2))
    promotion = "standard" if config.optimizer.name == "adamw" else "strict"  # optax's adam counts steps in int32
    expanded = rows.expand(config)
    traced = set(FEW.get(name, kinds(expanded)))
    assert traced & {row.name for row in expanded}
    for row in expanded:
        row = rows.with_model(row, config, outputs, known)
        with jax.numpy_dtype_promotion(promotion):
            stages = rows.stages(row, config, steps_per_epoch=10)
            for stage in stages if row.name in traced else ():
                check(row.name, row, stage, spec, (teacher, variables, seen), logits, targets, target)


@pytest.mark.slow
def test_cifar100_trains(tmp_path):
    """Some of its methods, two steps each, with images of noise and a smaller network than those it names."""
    config = cli.load_config(str(CONFIGS / "cifar100.py:teacher=resnet56,student=resnet20"), [])
    config.data.source = "generated"
    config.data.kwargs = {"shape": (32, 32, 3), "classes": 100, "train": 100, "test": 100}
    config.teacher.model = config.student.model = "resnet8"
    config.epochs, config.steps_per_epoch, config.batch_size = 1, 2, 4
    config.execution.eval_batch_size = 100
    config.teacher.batch_size = 50
    config.methods.activation_boundary.first_stage.epochs = 1
    config.methods.crd.crd.negatives = 64  # of 16,384, which take a gigabyte
    chosen = ("student", "crd", "activation_boundary")
    directory = experiment.run(config, tmp_path, only=chosen, seeds=(0,))
    for method in (*chosen, "teacher"):
        result, history = (run := Run(directory / method / "seed0")).result(), run.history()
        assert (result["status"], result["steps"], len(result["classes"])) == ("done", 2, 100), method
        assert [row["epoch"] for row in history] == ([0, 1] if method == "activation_boundary" else [1])
        terms = {name.removeprefix("loss/") for name in history[-1] if name.startswith("loss/")}
        assert terms == ({"cross_entropy"} if method == "teacher" else {*config.methods[method]} - {"first_stage"})
    runs = table.gather(directory)
    assert "Δ published" in table.markdown(runs).splitlines()[0]
    shown = {row["method"]: row["published"] for row in table.records(runs)}
    assert (shown["teacher"], shown["student"], shown["crd"]) == pytest.approx((0.7234, 0.6906, 0.7116))


def test_rows_of_an_ablation_keep_their_order_and_values():
    config = resolve(cli.load_config(str(CONFIGS / "ablations/temperature.py"), []))
    expanded = rows.expand(config)
    assert [row.name for row in expanded[:3]] == ["student", "kd", "kd,kd.temperature=1.0"]
    assert [row.ablation for row in expanded[2:]] == [{"kd.temperature": t} for t in (1.0, 2.0, 8.0, 16.0)]
    assert [row.terms["kd"]["temperature"] for row in expanded[1:]] == [4.0, 1.0, 2.0, 8.0, 16.0]


def test_a_teaching_method_comes_first():
    config = default()
    config.student.model = "convnet"
    config.methods.second = {**recipes.recipe("kd"), "teacher": "first"}
    config.methods.first = recipes.recipe("kd")
    assert [row.name for row in rows.expand(resolve(config))] == ["first", "second"]
    config.methods.first = {**recipes.recipe("kd"), "teacher": "second"}
    with pytest.raises(ValueError, match="circle"):
        rows.expand(resolve(config))


def test_warmup_is_a_staircase_of_epochs():
    term = rows.make_term("kd", {"weight": 2.0, "warmup_epochs": 4}, steps_per_epoch=10, where="x")
    weights = [float(term.weight(jnp.asarray(step))) for step in (0, 9, 10, 29, 30, 39, 40, 1000)]
    assert weights == pytest.approx([0.5, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0])


def test_schedules_of_optax_count_epochs():
    schedule = {"schedule": "linear_schedule", "init_value": 0.0, "end_value": 1.0, "transition_epochs": 2}
    term = rows.make_term("kd", {"weight": schedule}, steps_per_epoch=10, where="x")
    assert [float(term.weight(jnp.asarray(s))) for s in (0, 10, 20, 30)] == pytest.approx([0.0, 0.5, 1.0, 1.0])


def test_resolve_fills_in_and_refuses():
    config = default()
    config.optimizer = {"learning_rate": 1}
    resolved = resolve(config)
    assert resolved.optimizer.learning_rate == 1.0
    assert resolved.optimizer.weight_decay == default().optimizer.weight_decay
    config.data.shotz = 3
    with pytest.raises(ValueError, match=r"unknown config field config.data.shotz; did you mean 'shots'"):
        resolve(config)


def test_momentum_is_that_of_sgd():
    config = default()
    assert plain(resolve(config).optimizer.kwargs) == {"momentum": 0.9}
    config.optimizer.kwargs.nesterov = True
    assert plain(resolve(resolve(config)).optimizer.kwargs) == {"nesterov": True, "momentum": 0.9}
    config.optimizer.kwargs.momentum = 0.0
    assert resolve(config).optimizer.kwargs.momentum == 0.0
    adam = cli.load_config("configs/digits.py", ["--config.optimizer.name=adamw"])
    assert plain(resolve(adam).optimizer.kwargs) == {}
    made = rows.override(resolve(config).optimizer, {"name": "lion", "kwargs": {"b1": 0.8}}, "config.teacher.optimizer")
    assert plain(made.kwargs) == {"b1": 0.8}
    assert plain(rows.override(resolve(adam).optimizer, {"name": "sgd"}, "x").kwargs) == {"momentum": 0.9}
    with jax.numpy_dtype_promotion("standard"):  # optax's adam counts steps in int32
        make_optimizer(resolve(adam).optimizer, optax.constant_schedule(0.1))


def test_differences_names_fields():
    old, new = plain(default()), plain(default())
    new["data"]["shots"], new["seeds"] = 3, [4]
    assert differences(old, new) == ["seeds: [0, 1, 2] -> [4]", "data.shots: 0 -> 3"]


def test_parse_arg():
    assert parse_arg("a=3,b=x", a=1, b="y", c=0.5).to_dict() == {"a": 3, "b": "x", "c": 0.5}
    with pytest.raises(ValueError, match="of type int"):
        parse_arg("a=x", a=1)
    with pytest.raises(ValueError, match="did you mean 'teacher'"):
        parse_arg("techer=x", teacher="")


def test_the_grid_of_products_starts_from_the_papers():
    config = resolve(cli.load_config(str(CONFIGS / "ablations/products_grid.py:path=images"), []))
    assert (config.methods.kd.kd.temperature, config.methods.rkd.rkd.weight) == (4.0, 1.0)
    chosen = resolve(cli.load_config(str(CONFIGS / "products.py:path=images"), []))
    assert chosen.methods.kd.kd.temperature in (4.0, *config.ablate["kd.kd.temperature"])
