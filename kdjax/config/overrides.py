"""The arguments of `kdjax run` that make its config: a file with its own argument, fields set by --config.<field>."""

import difflib
import importlib.metadata
import sys
from pathlib import Path

from ml_collections import ConfigDict

from kdjax import config as configs


def split(rest: list[str], options) -> tuple[str, list[str], list[str]]:
    """(config file given without --config= or "", overrides of fields, options of the launcher) of unparsed arguments.

    Args:
      options: the names of those that the command has, for the nearest.

    Raises:
      ValueError: an argument is none of these; the message says which is meant, or near.
    """
    file, overrides, launcher = "", [], []
    arguments = iter(rest)
    for argument in arguments:
        if argument.startswith("--config."):
            overrides.append(argument)
            if "=" not in argument:  # its value follows
                overrides += [value for value in [next(arguments, None)] if value is not None]
        elif argument.startswith("--launcher."):
            launcher.append(argument)
        elif argument.startswith("-") or file:
            raise ValueError(f"unknown argument {argument}{_meant(argument, options)}")
        else:
            file = argument
    return file, overrides, launcher


def _meant(argument: str, options) -> str:
    """The option or the fields of the config whose names are nearest to that of an argument."""
    name, equals, value = argument.lstrip("-").partition("=")
    if close := difflib.get_close_matches(name, options, n=1, cutoff=0.75):
        return f"; did you mean --{close[0]}{equals}{value}?"
    fields = list(_leaves(configs.default()))
    last = [field.rpartition(".")[2] for field in fields]
    if name in fields:
        return f"; did you mean --config.{name}{equals}{value}?"
    found = difflib.get_close_matches(name, last, n=1)
    named = [f"--config.{field}{equals}{value}" for field, own in zip(fields, last, strict=True) if own in found]
    if named:
        return f"; did you mean {' or '.join(named)}?"
    return "; a field of the config is set by --config.field=value"


def _leaves(config: ConfigDict, path: str = ""):
    """The dotted names of all fields."""
    for key in config:
        field = f"{path}{key}"
        if isinstance(config[key], ConfigDict) and len(config[key]):
            yield from _leaves(config[key], f"{field}.")
        else:
            yield field


def load_config(file_and_arg: str, overrides: list[str]) -> ConfigDict:
    """The config of "file.py:arg" after `--config.field=value` overrides, by ml_collections' own flags.

    A model that an override replaces takes its arguments with it: what the file says of kwargs was meant for that one.

    Raises:
      ValueError: the file, its argument or an override is wrong.
    """
    from ml_collections.config_flags import config_flags

    name, colon, arg = file_and_arg.partition(":")
    path = Path(name)
    if not path.is_file():
        path = shipped().get(name)
    if path is None:
        raise ValueError(f"--config: there is no file {name!r}{_nearest_file(Path(name))}")
    for folder in list(path.resolve().parents)[:2]:  # configs/ablations/x.py may import from configs/
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    sys.modules.pop("config_config", None)  # where config_flags loads the file: what an earlier one defined stays there
    config = _flag(config_flags.DEFINE_config_file, [f"--config={path}{colon}{arg}"])
    if not isinstance(config, ConfigDict):
        raise ValueError(f"a config is a ConfigDict, kdjax.config.default() with some fields changed; got {config!r}")
    for role in ("teacher", "student"):
        _without_the_old_arguments(config, role, overrides)
    return _flag(config_flags.DEFINE_config_dict, overrides, config)


def shipped() -> dict[str, Path]:
    """Name -> file of the configs that come with kdjax: "digits", "ablations/weight".

    They lie beside the package in a checkout, elsewhere where the installation has put them.
    """
    beside = Path(configs.__file__).resolve().parents[2] / "configs"
    if (beside / "digits.py").is_file():
        return {str(file.relative_to(beside).with_suffix("")): file for file in sorted(beside.rglob("*.py"))}
    try:
        files = importlib.metadata.files("kdjax") or ()
    except importlib.metadata.PackageNotFoundError:
        files = ()
    own = [(str(file).partition(SHARED)[2], file) for file in files if SHARED in str(file) and file.suffix == ".py"]
    return {name.removesuffix(".py"): Path(file.locate()).resolve() for name, file in sorted(own)}


SHARED = "share/kdjax/configs/"
"""Where pyproject.toml has the configs installed, below the environment."""


def _flag(define, arguments: list[str], *default) -> ConfigDict:
    """The value of config_flags' flag "config" after these arguments."""
    from absl import flags

    values = flags.FlagValues()
    before, sys.argv = sys.argv, ["kdjax", *arguments]  # config_flags looks for overrides there
    try:
        # new keys, of a model's kwargs say, are accepted here; kdjax.config.resolve checks them
        define("config", *default, flag_values=values, lock_config=False, accept_new_attributes=True)
        values(sys.argv)
        return values.config
    except KeyError as error:
        raise ValueError(f"--config: there is no field {error.args[0]}") from error
    except (flags.Error, AttributeError, TypeError, SyntaxError) as error:
        raise ValueError(f"--config: {_last_words(error)}") from error
    finally:
        sys.argv = before


def _last_words(error) -> str:
    """What an error says; of a traceback inside it, which ml_collections quotes, the exception alone."""
    text = str(error).strip()
    return text.splitlines()[-1].removeprefix("ValueError: ") if "Traceback" in text else text


def _without_the_old_arguments(config: ConfigDict, role: str, overrides: list[str]) -> None:
    """Empties the kwargs of a model that an override replaces by another, and says so."""
    own = config.get(role)
    if not isinstance(own, ConfigDict) or not own.get("kwargs"):
        return
    models = [value for field, value in _pairs(overrides) if field == f"{role}.model"]
    if not models or models[-1] == own.model:
        return
    if models[-1]:
        left = ", ".join(f"{key}={value}" for key, value in own.kwargs.items())
        print(
            f"kdjax: config.{role}.model is {models[-1]} now: the config's arguments of {own.model} are left out "
            f"({left}); --config.{role}.kwargs.<name>=value gives others",
            file=sys.stderr,
        )
    own.kwargs = ConfigDict()


def _pairs(overrides: list[str]):
    """(field, value) of each override, of one argument or of two."""
    arguments = iter(overrides)
    for argument in arguments:
        name, equals, value = argument.removeprefix("--config.").partition("=")
        yield name, value if equals else next(arguments, "")


def _nearest_file(path: Path) -> str:
    """The config that a missing one may have been meant for: beside it, in configs/, or one that comes with kdjax."""
    folders = dict.fromkeys([path.parent, Path("configs")])
    files = [str(file) for folder in folders for file in sorted(folder.glob("*.py"))]
    names = {name: name for name in shipped()} | {Path(file).name: file for file in reversed(files)}
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {names[close[0]]!r}?" if close else ""
