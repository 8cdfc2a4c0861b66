"""Things are found by name in a module of kdjax or by import path; there is nothing to register."""

import difflib
import importlib
import inspect
from types import ModuleType


def find(name: str, module: ModuleType, kind: str):
    """The attribute `name` of `module`, or what the import path `name` ("my_file.my_loss") leads to.

    Raises:
      ValueError: nothing has that name; the message says what was looked for, with the nearest spelling.
    """
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{kind} must be a name or an import path like my_file.my_name, got {name!r}")
    if "." not in name:
        if name in names(module):
            return getattr(module, name)
        raise ValueError(
            f"unknown {kind} {name!r}{nearest(name, names(module))}; or give an import path, my_file.{name}"
        )
    path, _, attribute = name.rpartition(".")
    try:
        source = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (path == error.name or path.startswith(error.name + ".")):
            raise ValueError(f"{kind} {name!r}: importing {path} failed: {error}") from error
        raise ValueError(
            f"{kind} {name!r}: there is no module {path!r}; it is looked for beside the config file, "
            "in the working directory and among the installed packages"
        ) from error
    if not hasattr(source, attribute):
        public = [key for key in vars(source) if not key.startswith("_")]
        raise ValueError(f"{kind} {name!r}: {path} has no {attribute!r}{nearest(attribute, public)}")
    return getattr(source, attribute)


def names(module: ModuleType) -> list[str]:
    """The public functions and classes that a module offers, imported helpers left out."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__.startswith(module.__name__)
    ]


def nearest(name: str, valid) -> str:
    """The end of an error message: the nearest valid name, or all of them when none is near."""
    valid = list(dict.fromkeys(valid))
    close = difflib.get_close_matches(name, valid, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid are {', '.join(sorted(valid))}" if valid else ""


def chosen(rows, only) -> set[str]:
    """The names of `rows` that --only asks for, all of them if it is empty: the same for training and for tables.

    A method's name stands for its ablated rows too: "kd" for "kd" and "kd,kd.temperature=2.0". `only` may hold the
    name of such a row in its two parts, as the command line splits it at commas.

    Raises:
      ValueError: there is no row of a name, with the nearest.
    """
    rows, asked, rest = list(rows), [], list(only)
    while rest:
        parts = 2 if ",".join(rest[:2]) in rows and len(rest) > 1 else 1
        asked.append(",".join(rest[:parts]))
        del rest[:parts]
    for name in asked:
        if not any(name in (row, row.partition(",")[0]) for row in rows):
            raise ValueError(f"--only: there is no method {name!r}{nearest(name, dict.fromkeys(rows))}")
    return {row for row in rows if not asked or row in asked or row.partition(",")[0] in asked}
