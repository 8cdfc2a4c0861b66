"""The config of tests/tiny.py as a file: `kdjax run --config=tests/tiny_config.py`."""

from kdjax.config import parse_arg
from tests import tiny


def get_config(arg: str = ""):
    args = parse_arg(arg, methods="student+stateless", epochs=1)
    config = tiny.config(methods=args.methods.split("+"), epochs=args.epochs)
    config.teacher.epochs = 1
    config.seeds = (0,)
    return config
