"""Handwritten digits, smaller still: a distilled student in int8, pruned, and both, each fine-tuned under `kd`.

Each of these rows begins as the `kd` row's student of the same seed and trains as long again, at a tenth of the
learning rate; `kd_longer` does so and nothing else, so it is what the others must be compared with.

    kdjax run --config=configs/digits_small.py
    kdjax sizes runs/digits_small/{teacher,student,kd,kd_longer,kd_pruned,kd_qat,kd_pruned_qat}/seed* \
        --out=results/digits_small

Cost: about two minutes on two CPU cores. Expected: results/digits_small/sizes.md.
"""

import digits

from kdjax import methods


def get_config():
    config = digits.get_config(())
    config.experiment = "digits_small"
    config.seeds = (0, 1, 2)
    config.student.kwargs = {"widths": (16, 32, 64)}  # smaller ones are not worth a byte: the file is mostly its graph
    config.methods.student = methods.recipe("student")
    for name, spec in rows(methods.recipe("kd"), config.optimizer.learning_rate).items():
        config.methods[name] = spec
    return config


def rows(kd: dict, learning_rate: float, sparsity: float = 0.8) -> dict[str, dict]:
    """The rows of the table: `kd` itself, and what becomes of its student."""
    fine = {**kd, "start": "kd", "optimizer": {"learning_rate": learning_rate / 10}}
    prune = {"sparsity": sparsity}  # reached after half of the epochs
    return {
        "kd": kd,
        "kd_longer": fine,
        "kd_qat": {**fine, "quantize": "int8"},
        "kd_pruned": {**fine, "prune": prune},
        "kd_pruned_qat": {**fine, "prune": prune, "quantize": "int8"},
    }
