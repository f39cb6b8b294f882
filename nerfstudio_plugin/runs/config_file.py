"""Reads a run's ``config.yml``, the trainer config that Nerfstudio writes as YAML.

``config.yml`` names Python classes to build. Nerfstudio reads it with YAML's unsafe loader, which
calls any function that the file names. Here only config classes, enums and paths are built, and
only those of Nerfstudio, torch and packages that registered themselves as Nerfstudio plugins.
"""

from __future__ import annotations

import importlib
import operator
from dataclasses import is_dataclass
from enum import Enum
from importlib.metadata import entry_points
from pathlib import Path, PurePath
from typing import Any

import yaml
from nerfstudio.engine.trainer import TrainerConfig

from sa3d.base.errors import SA3DError

_TRUSTED_PACKAGES = frozenset({"nerfstudio", "torch", "pathlib", "nerfstudio_plugin", "sa3d"})
_GENERIC_ALIASES = frozenset({"operator.getitem", "_operator.getitem"})
_PLUGIN_GROUPS = ("nerfstudio.method_configs", "nerfstudio.dataparser_configs")
# Keys are written in alphabetical order, so a file that was cut short lacks the last of these.
_REQUIRED_KEYS = ("method_name", "pipeline", "relative_model_dir", "vis")


def _plugin_packages() -> frozenset[str]:
    found = (entry for group in _PLUGIN_GROUPS for entry in entry_points(group=group))
    return frozenset(entry.value.partition(":")[0].partition(".")[0] for entry in found)


class _RunConfigLoader(yaml.UnsafeLoader):
    """YAML loader for Python objects that checks every name, and every object it builds."""

    def find_python_name(self, name: str, mark: Any, unsafe: bool = False) -> Any:
        module, _, attribute = name.rpartition(".")
        package = module.partition(".")[0]
        trusted = package in _TRUSTED_PACKAGES or name in _GENERIC_ALIASES
        if not trusted and package not in _plugin_packages():
            raise yaml.constructor.ConstructorError(
                "while reading a class",
                mark,
                f"{name!r} is not of Nerfstudio or a plugin",
            )
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(
                "while reading a class", mark, f"{name!r} is not installed here ({error})"
            ) from error

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
        named = self.find_python_name(suffix, node.start_mark)
        if suffix in _GENERIC_ALIASES:
            return operator.getitem(*args)
        if isinstance(named, type) and issubclass(named, PurePath):
            return Path(*(args or ()))  # a run from Windows opens on Linux, and the reverse
        if isinstance(named, type) and is_dataclass(named):
            return named.__new__(named)
        if isinstance(named, type) and issubclass(named, Enum):
            return named(*args)
        raise yaml.constructor.ConstructorError(
            "while building an object", node.start_mark, f"{suffix!r} is not a config class"
        )


def read_run_config(load_config: Path) -> TrainerConfig:
    """Read a run's ``config.yml`` as Nerfstudio wrote it.

    Args:
        load_config: the file.

    Raises:
        SA3DError: the file is missing, unreadable or cut short, or a class in it is not installed.
    """
    try:
        text = load_config.read_text("utf8")
    except FileNotFoundError as error:
        raise SA3DError(
            f"{load_config} does not exist; give the config.yml that ns-train printed when the "
            "training ended (outputs/<experiment>/<method>/<timestamp>/config.yml)"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SA3DError(f"{load_config} cannot be read as a run's config.yml: {error}") from error
    try:
        config = yaml.load(text, Loader=_RunConfigLoader)
    except (yaml.YAMLError, TypeError, ValueError, AttributeError) as error:
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
