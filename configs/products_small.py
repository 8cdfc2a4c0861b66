"""The shop's case, smaller still: the distilled student of configs/products.py in int8, pruned, and both.

Arguments are those of configs/products.py but `assistant`, and `run`, a teacher that is there; rows those of
configs/digits_small.py.

    kdjax run --config=configs/products_small.py:path=/data/products
    kdjax sizes runs/products_small/{teacher,student,kd,kd_longer,kd_pruned,kd_qat,kd_pruned_qat}/seed* \
        --out=results/products_small

Run at 32 pixels with the teacher of results/products, eighteen runs in twenty minutes of two CPU cores, beside other
work: results/products_small/README.md.
"""

import digits_small
import products

from kdjax.config import parse_arg


def get_config(arg: str = ""):
    args = parse_arg(arg, run="", **products.ARGS, **products.TEACHER)
    config = products.base(args)
    config.experiment = "products_small"
    config.teacher.run = args.run
    config.methods.student = products.recipe("student", args)
    for name, spec in digits_small.rows(products.recipe("kd", args), config.optimizer.learning_rate).items():
        config.methods[name] = spec
    return config
