"""Reads a run's ``config.yml``, the trainer config that Nerfstudio writes as YAML.

``config.yml`` names Python classes to build, and ``setup()`` of a config calls its ``_target``.
Nerfstudio reads the file with YAML's unsafe loader, which calls any function that the file names.
Here the file is data from a stranger. Only config classes, enums and paths are built, of Nerfstudio
and of plugins that this Nerfstudio has loaded, and the settings of ``sa3d``. A config has no field
that its class lacks, and its ``_target`` is of the same family as the class that the config class
declares: a model stays a model.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, get_origin

import yaml
from nerfstudio.configs.base_config import PrintableConfig
from nerfstudio.engine.trainer import TrainerConfig

from sa3d.base.errors import SA3DError
from sa3d.base.ranges import Checked

_CONFIG_MODULES = (
    *("cameras", "configs", "data", "engine", "field_components", "fields", "models"),
    *("model_components", "pipelines", "plugins", "utils"),
)
"""Parts of the package nerfstudio that define config classes and their targets."""
_GENERIC_ALIASES = frozenset({"operator.getitem", "_operator.getitem"})
_PLUGIN_GROUPS = ("nerfstudio.method_configs", "nerfstudio.dataparser_configs")
# Keys are written in alphabetical order, so a file that was cut short lacks the last of these.
_REQUIRED_KEYS = ("method_name", "pipeline", "relative_model_dir", "vis")
_FORMER_FIELDS = {
    "CameraOptimizerConfig": frozenset(
        {"orientation_noise_std", "param_group", "position_noise_std"}
    ),
    "MachineConfig": frozenset({"num_gpus"}),
    "ViewerConfig": frozenset(
        {
            *("codec", "ip_address", "launch_bridge_server", "local", "skip_openrelay"),
            *("start_train", "zmq_port"),
        }
    ),
}
"""Fields that Nerfstudio 0.2 and 0.3 wrote and that segmenting does not read; they are dropped."""
_FORMER_NOISE = ("orientation_noise_std", "position_noise_std")
"""Former fields that must be 0: random numbers moved the cameras, and were not saved."""
_LONGEST = 4 << 20
"""Bytes of the largest file that is read; those of ns-train have some 10 KB."""


def _plugins() -> Iterator[EntryPoint]:
    for group in _PLUGIN_GROUPS:
        yield from entry_points(group=group)


@cache
def _load_plugins(package: str) -> bool:
    """Load the entry points of a plugin package, as ``ns-train`` does; False if there is none."""
    found = [one for one in _plugins() if one.module.partition(".")[0] == package]
    for one in found:
        importlib.import_module(one.module)
    return bool(found)


def _module(name: str) -> Any:
    """Return a module that may define config classes.

    A plugin's module is not imported for the file's sake: the plugin itself must have done that.

    Raises:
        ImportError: there is no such module, or it may not be used.
    """
    package, _, rest = name.partition(".")
    if any(part.startswith("_") for part in name.split(".")):
        raise ImportError("not a module of config classes")
    if package == "nerfstudio" and rest.partition(".")[0] in _CONFIG_MODULES:
        return importlib.import_module(name)
    if package == "sa3d" and name.endswith(".config"):  # a segmentation's, read to say so
        return importlib.import_module(name)
    if name.startswith("torch.optim."):
        return importlib.import_module(name)
    if package != "nerfstudio" and _load_plugins(package) and name in sys.modules:
        return sys.modules[name]
    raise ImportError("not of Nerfstudio or a plugin")


class _RunConfigLoader(yaml.UnsafeLoader):
    """YAML loader for Python objects that checks every name, and every object it builds."""

    def find_python_name(self, name: str, mark: Any, unsafe: bool = False) -> Any:
        if name in _GENERIC_ALIASES:
            return operator.getitem
        if name.startswith("pathlib.") and name.endswith("Path"):
            return Path  # a run from Windows opens on Linux, and the reverse
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            problem = f"{name!r} cannot be used: {error}"
            raise yaml.constructor.ConstructorError(
                "while reading a class", mark, problem
            ) from error
        if getattr(found, "__module__", "").partition(".")[0] != module.partition(".")[0]:
            problem = f"{name!r} is not of the package it is named in"
            raise yaml.constructor.ConstructorError("while reading a class", mark, problem)
        return found

    def find_python_module(self, name: str, mark: Any, unsafe: bool = False) -> Any:
        raise yaml.constructor.ConstructorError(
            "while reading a module",
            mark,
            f"a run's config may not name the module {name!r}",
        )

    def make_python_instance(
        self,
        suffix: str,
        node: Any,
        args: Any = None,
        kwds: Any = None,
        newobj: bool = False,
        unsafe: bool = False,
    ) -> Any:
        named, args = self.find_python_name(suffix, node.start_mark), list(args or ())
        if named is operator.getitem and len(args) == 2 and isinstance(args[0], type):
            return args[0][args[1]]  # pyright: ignore[reportIndexIssue]
        if named is Path and all(isinstance(part, str) for part in args):
            written = PureWindowsPath if "Windows" in suffix else PurePath
            return Path(written(*args).as_posix())
        if _is_config_class(named):
            return named.__new__(named)
        if isinstance(named, type) and issubclass(named, Enum) and len(args) == 1:
            return named(args[0])
        raise yaml.constructor.ConstructorError(
            "while building an object", node.start_mark, f"{suffix!r} is not a config class"
        )

    def flatten_mapping(self, node: Any) -> None:
        """Refuse merge keys: ns-train writes none, and a few of them can fill all memory."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "a run's config has no merge keys", key.start_mark
                )

    def set_python_instance_state(self, instance: Any, state: Any, unsafe: bool = False) -> None:
        """Set the fields of a config."""
        if not _is_config_class(type(instance)) or not isinstance(state, dict):
            raise yaml.constructor.ConstructorError(
                None, None, f"a {type(instance).__name__} cannot have a state"
            )
        kind = type(instance)
        known = {item.name: item for item in fields(kind)}
        for name, item in known.items():  # fields that are newer than the file
            if item.default_factory is not MISSING and kind is not TrainerConfig:
                vars(instance)[name] = item.default_factory()
        for name, value in state.items():
            if name in known:
                vars(instance)[name] = value
            elif name not in _FORMER_FIELDS.get(kind.__name__, ()):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{kind.__name__} has no field {name!r}"
                )
            elif name in _FORMER_NOISE and value != 0:
                problem = f"{name} {value!r} moved the cameras, and by how much was not saved"
                raise yaml.constructor.ConstructorError(None, None, problem)


def _is_config_class(kind: Any) -> bool:
    kinds = (PrintableConfig, Checked)
    return isinstance(kind, type) and is_dataclass(kind) and issubclass(kind, kinds)


def _check_values(value: Any, place: str, seen: set[int]) -> None:
    """Check that a loaded config holds plain values, and targets that its classes declare.

    Raises:
        ValueError: a value may not be there.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes, PurePath, Enum)):
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(key, place, seen)
            _check_values(inner, f"{place}.{key}", seen)
    elif isinstance(value, (list, tuple, set)):
        for inner in value:
            _check_values(inner, place, seen)
    elif _is_config_class(type(value)):
        for item in fields(value):
            if item.name in vars(value):
                _check_field(value, item.name, f"{place}.{item.name}", seen)
    else:
        raise ValueError(f"{place} may not be {value!r}")


def _check_field(config: Any, name: str, place: str, seen: set[int]) -> None:
    value, declared = vars(config)[name], _declared(type(config), name)
    if name != "_target":
        if not callable(value) or _is_config_class(type(value)):
            _check_values(value, place, seen)
        elif value != declared:
            raise ValueError(f"{place} may not be {value!r}")
        return
    target, base = (get_origin(one) or one for one in (value, declared))
    if not (
        isinstance(target, type) and isinstance(base, type) and issubclass(target, _family(base))
    ):
        made = getattr(base, "__name__", base)
        raise ValueError(f"{place} may not be {value!r}: a {type(config).__name__} makes a {made}")


def _family(target: type) -> type:
    """Return the topmost class that a target inherits from in its own package or Nerfstudio."""
    packages = {"nerfstudio", target.__module__.partition(".")[0]}
    return [one for one in target.__mro__ if one.__module__.partition(".")[0] in packages][-1]


def _declared(kind: Any, name: str) -> Any:
    """Return the default of a config class's field; None if it has none."""
    (item,) = (item for item in fields(kind) if item.name == name)
    if item.default_factory is not MISSING:
        return item.default_factory()
    return None if item.default is MISSING else item.default


def read_run_config(load_config: Path) -> TrainerConfig:
    """Read a run's ``config.yml`` as Nerfstudio wrote it.

    Args:
        load_config: the file.

    Raises:
        SA3DError: the file is missing, unreadable or cut short, or it names something else than
            config classes that are installed here.
    """
    try:
        if load_config.stat().st_size > _LONGEST:
            raise SA3DError(f"{load_config} is too large for a run's config.yml")
        text = load_config.read_text("utf8")
    except FileNotFoundError as error:
        raise SA3DError(
            f"{load_config} does not exist; give the config.yml that ns-train printed when the "
            "training ended (outputs/<experiment>/<method>/<timestamp>/config.yml)"
        ) from error
    except (OSError, ValueError) as error:
        raise SA3DError(f"{load_config} cannot be read as a run's config.yml: {error}") from error
    try:
        config = yaml.load(text, Loader=_RunConfigLoader)
        _check_values(config, "config", set())
    except RecursionError as error:
        raise SA3DError(f"{load_config} is nested too deeply for a run's config.yml") from error
    except (yaml.YAMLError, TypeError, ValueError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise SA3DError(
            f"{load_config} is not a config.yml this Nerfstudio can read: {reason}; restore the "
            "file, or install the Nerfstudio version and plugins the run was trained with"
        ) from error
    if not isinstance(config, TrainerConfig):
        raise SA3DError(
            f"{load_config} is not a run's config.yml (found {type(config).__name__}); give the "
            "config.yml written by ns-train"
        )
    absent = [key for key in _REQUIRED_KEYS if key not in vars(config)]
    if absent:
        raise SA3DError(
            f"{load_config} ends before {', '.join(absent)}: the file was cut short; restore it"
        )
    return config
