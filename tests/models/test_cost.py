"""What models cost: counts against their closed forms, and the table."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import kdjax.models
from kdjax import cli
from kdjax.models import compress, cost
from kdjax.training import parallel
from kdjax.types import image_spec

COSTS = True


def positions(size: int, stride: int) -> int:
    """Products along one axis of a 3-wide convolution padded by 1: 3 a position, less one at each end that pads."""
    ends = 2 if stride == 1 else 1  # with stride 2 and an even size, only the first window reaches into the padding
    return 3 * (size // stride) - ends


def conv3(size, inputs, outputs, stride=1):
    return 2 * positions(size, stride) ** 2 * inputs * outputs


def resnet8_flops(classes):
    """Convolutions and the linear layer of a ResNet-8 at 32x32, two FLOPs a product that is not with padding."""
    stage1 = conv3(32, 3, 16) + 2 * conv3(32, 16, 16)
    stage2 = conv3(32, 16, 32, stride=2) + conv3(16, 32, 32) + 2 * 16**2 * 16 * 32
    stage3 = conv3(16, 32, 64, stride=2) + conv3(8, 64, 64) + 2 * 8**2 * 32 * 64
    return stage1 + stage2 + stage3 + 2 * 64 * classes


def plain_student_flops(classes):
    sizes, widths = (32, 16, 8, 4), (3, 64, 128, 256, 512)
    convolutions = sum(conv3(s, i, o) for s, i, o in zip(sizes, widths[:-1], widths[1:], strict=True))
    return convolutions + 2 * (512 * 2 * 2 * 4096 + 4096 * classes)


@pytest.mark.parametrize(("name", "closed"), [("resnet8", resnet8_flops), ("plain_student", plain_student_flops)])
def test_flops_are_those_of_the_closed_form_and_a_few_elementwise_ones(name, closed):
    model = getattr(kdjax.models, name)(num_classes=100)
    counted = cost.flops(model, image_spec(32, 32, 3))
    assert closed(100) < counted < 1.03 * closed(100)


def test_flops_before_and_after_compilation_agree():
    model = kdjax.models.resnet8(num_classes=10)
    image = jnp.zeros((1, 8, 8, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    compiled = jax.jit(lambda v, x: model.apply(v, x).logits).lower(variables, image).compile()
    assert compiled.cost_analysis()["flops"] == pytest.approx(cost.flops(model, image_spec(8, 8, 3)), rel=0.02)


def test_flops_are_counted_where_jax_computes_on_an_accelerator(monkeypatch):
    """Its plugins count none, and say None: what is lowered for the CPU is what can be asked."""
    asked = jax.stages.Lowered.cost_analysis

    def plugin(lowered):
        device = jax.config.jax_default_device
        return asked(lowered) if device and device.platform == "cpu" else None

    expected = cost.flops(kdjax.models.resnet8(num_classes=10), image_spec(8, 8, 3))
    monkeypatch.setattr(jax.stages.Lowered, "cost_analysis", plugin)
    assert cost.flops(kdjax.models.resnet8(num_classes=10), image_spec(8, 8, 3)) == expected > 0
    assert cost.cost(kdjax.models.convnet(num_classes=10, widths=(4, 8)), image_spec(8, 8, 1))["flops"] > 0


@pytest.mark.parametrize(
    ("asked", "given"), [(None, None), ("", ""), ("cpu", "cpu"), ("cuda", "cuda,cpu"), ("cuda,cpu", "cuda,cpu")]
)
def test_the_cpu_is_there_beside_the_platforms_that_are_asked_for(asked, given):
    assert parallel.platforms(asked) == given


def test_cost_of_a_small_net():
    model = kdjax.models.convnet(num_classes=10, widths=(4, 8))
    row = cost.cost(model, image_spec(8, 8, 1))
    assert row["parameters"] == (9 * 4 + 8) + (9 * 4 * 8 + 16) + (8 * 10 + 10)
    assert row["bytes"] == 4 * row["parameters"]
    assert row["latency_1_ms"] > 0
    assert row["latency_64_ms"] > 0
    assert min(row["latency_1_spread_ms"], row["latency_64_spread_ms"]) >= 0


def test_table_compares_with_the_teacher(capsys):
    args = SimpleNamespace(
        models=["convnet"], teacher="lenet", image_size=8, classes=10, channels=1, tokens=8, vocabulary=9
    )
    cost.main(args)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[:4]] == ["model", "-" * 7, "lenet", "convnet"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[2].split("|")[9].strip() == "1.0"
    assert lines[3].split("|")[9].strip() == f"{21_386 / 24_058:.1f}"


def test_unknown_model_is_named(capsys):
    args = SimpleNamespace(
        models=["resnet21"], teacher="", image_size=8, classes=10, channels=1, tokens=8, vocabulary=9
    )
    with pytest.raises(ValueError, match="did you mean 'resnet"):
        cost.main(args)


def test_from_the_command_line(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["cost", "convnet", "tests.tiny.Net", "--teacher=resnet20", "--image-size=16", "--classes=10"])
    assert exit_.value.code == 0
    head, _, *lines = [
        [c.strip() for c in s.split("|")[1:-1]] for s in capsys.readouterr().out.splitlines() if "|" in s
    ]
    rows = {line[0]: dict(zip(head, line, strict=True)) for line in lines}
    assert list(rows) == ["resnet20", "convnet", "tests.tiny.Net"]
    parameters = int(rows["resnet20"]["parameters"].replace(",", ""))
    assert parameters == 272_474
    for width, bytes_ in (("float32", 4), ("bfloat16", 2), ("int8", 1)):
        assert float(rows["resnet20"][f"MB {width}"]) == round(parameters * bytes_ / 1e6, 2)
    ratio = parameters / int(rows["convnet"]["parameters"].replace(",", ""))
    assert rows["convnet"]["parameters ÷"] == f"{ratio:.1f}"
    assert float(rows["convnet"]["FLOPs ÷"]) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convnt",), "did you mean 'convnet'"),
        (("lenet", "--teacher=resnt20"), "did you mean 'resnet20'"),
        (("lenet", "--classes=0"), "--classes must be at least 1, got 0"),
        (("lenet", "--image-size=3"), "3x3 are too small"),
        (("simkd",), "model 'simkd' cannot be made from num_classes alone"),
    ],
)
def test_bad_input_from_the_command_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["cost", *arguments])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_of_networks_that_train_together_the_first_ships():
    one, other = (kdjax.models.convnet(num_classes=10, widths=widths) for widths in ((4, 8), (8, 8)))
    peers = kdjax.models.peers(num_classes=10, members=(one, other))
    assert cost.shipped(peers) == one
    assert cost.shipped(compress.Int8(peers)) == one
    sizes = [cost.parameters(model, image_spec(8, 8, 1)) for model in (peers, one, other)]
    assert sizes[0] == sizes[1] + sizes[2]
