"""Where the BatchNorm before each stage's last ReLU stands in a network's parameters, for losses such as OFD's."""

import re


def stage_norms(params) -> tuple[dict, ...]:
    """{"scale": [C], "bias": [C]} of the BatchNorm that makes each of `preacts`, the stem's left out.

    Found by the names of layers alone, so that a loss needs nothing but the teacher's variables:

      ResNets       the last BatchNorm of a stage's last block (its sum with the shortcut is the preact)
      WRN           bn1 of the next stage's first block; after the last stage the network's bn1
      VGG           the last BatchNorm of a block
      MobileNetV1   the last BatchNorm of blocks 3, 5, 11 and 13
      MobileNetV2   (CIFAR) the last BatchNorm of stages 2, 3, 5 and 7

    These are RepDistiller's and mdistiller's `get_bn_before_relu`.

    Args:
      params: of a network of kdjax.models, variables["params"].

    Raises:
      ValueError: the network is none of these.
    """
    if "block2_layer_0" in params:
        return params["block2_layer_0"]["bn1"], params["block3_layer_0"]["bn1"], params["bn1"]
    if "layer1_0" in params and "conv2" not in params:
        stages = [name for name in ("layer1_", "layer2_", "layer3_", "layer4_") if f"{name}0" in params]
        return tuple(_last(_last(params, stage), "bn") for stage in stages)
    if "block4_0" in params:
        return tuple(_last(params, f"block{block}_") for block in range(1, 5))
    if "model_0_0" in params:
        return tuple(params[f"model_{block}_4"] for block in (3, 5, 11, 13))
    if "blocks_6_0" in params and "conv2_0" in params:
        return tuple(_last(params, f"blocks_{stage}_")["conv_7"] for stage in (1, 2, 4, 6))
    raise ValueError(
        f"no rule says which BatchNorm ends a stage of a network with layers {', '.join(sorted(params)[:5])}"
    )


def _last(tree, prefix: str):
    """The entry <prefix><number> with the highest number."""
    numbers = [int(m[1]) for name in tree if (m := re.fullmatch(re.escape(prefix) + r"(\d+)", name))]
    return tree[f"{prefix}{max(numbers)}"]
