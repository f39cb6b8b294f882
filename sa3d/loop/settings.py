"""Settings, and presets: TOML files with values for the dataclasses of the settings.

``with_values`` puts values into dataclasses.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from sa3d.base.errors import SA3DError
from sa3d.base.typed_values import check_value
from sa3d.loop.config import LoopConfig
from sa3d.scene.config import PrepareConfig
from sa3d.segmenters.registry import AUTO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_DISTRIBUTION = "sa3d-nerfstudio"
_INSTALLED_FOLDER = "share/sa3d/configs"

_RENAMED = {
    "loop.convergence.min_trust": "min_best_agreement",
    "loop.convergence.look_at": "warn_agreement",
    "loop.convergence.look_beyond": "warn_outside",
}
"""Keys in presets and saved segmentations that older versions wrote, and their present names."""
_REMOVED = frozenset({"loop.folds"})
"""Keys in such files that are ignored."""

_Config = TypeVar("_Config")


@dataclass
class Settings:
    """All settings that decide a result."""

    segmenter: str = AUTO
    """The 2D segmenter: "auto" (the best one whose weights are on this machine), "graphcut"
    (embedded, needs no weights), a short name such as "sam2.1-tiny" (`sa3d segmenters` lists them),
    a Hugging Face id ("owner/name"), or a folder or .safetensors file with SAM weights."""
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


def preset_files() -> dict[str, Path]:
    """Return the TOML files of the presets that come with the program, by name.

    They lie in ``configs/`` beside the package, or where the package was installed.
    """
    folder = Path(__file__).resolve().parents[2] / "configs"
    found = list(folder.glob("*.toml")) if (folder / "default.toml").is_file() else _installed()
    return {path.stem: path for path in sorted(found)}


def load_settings(name_or_file: str) -> Settings:
    """Load the settings of a preset or of a TOML file.

    Args:
        name_or_file: a preset's name (``unbounded``) or the path of a ``.toml`` file.

    Raises:
        SA3DError: there is no such preset or file, the file is not TOML, or see
            ``settings_from_dict``.
    """
    presets = preset_files()
    path = presets.get(name_or_file, Path(name_or_file))
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SA3DError(
            f"no config {name_or_file!r}: give one of {', '.join(presets)}, or a .toml file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SA3DError(f"config {str(path)!r} is not valid TOML: {error}") from error
    return settings_from_dict(values, str(path))


def settings_from_dict(values: Mapping[str, Any], origin: str) -> Settings:
    """Return settings with the given values in place of the defaults.

    Keys that older versions wrote are renamed or ignored.

    Args:
        values: nested as the dataclasses are.
        origin: where the values come from, for messages.

    Raises:
        SA3DError: a key is unknown, or a value has the wrong type or is out of range.

    Example:
        >>> settings_from_dict({"loop": {"lam": 2.0}}, "my notes").loop.lam
        2.0
    """
    return with_values(Settings(), values, origin)


def with_values(
    config: _Config, values: Mapping[str, Any], origin: str, prefix: str = ""
) -> _Config:
    """Return a copy of a dataclass with some values replaced, also in dataclasses inside it.

    Args:
        origin: where the values come from, for messages.
        prefix: put before names in messages, for example ``loop.``.

    Raises:
        SA3DError: a key is unknown, or a value has the wrong type or is out of range.
    """
    hints = get_type_hints(type(config))
    known = [item.name for item in fields(config)]  # pyright: ignore[reportArgumentType]
    changes: dict[str, Any] = {}
    for written, value in values.items():
        key = _RENAMED.get(prefix + written, written)
        name = prefix + key
        if name in _REMOVED:
            continue
        if key not in known:
            there = ", ".join(prefix + one for one in known)
            raise SA3DError(f"config {origin!r}: unknown key {name!r}; known: {there}")
        current = getattr(config, key)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise SA3DError(f"config {origin!r}: {name!r} must be a table: write [{name}]")
            changes[key] = with_values(current, value, origin, name + ".")
        else:
            try:
                check_value(value, hints[key], repr(name))
            except ValueError as error:
                raise SA3DError(f"config {origin!r}: {error}") from error
            changes[key] = value
    try:
        return replace(config, **changes)  # pyright: ignore[reportArgumentType]
    except SA3DError as error:
        raise SA3DError(f"config {origin!r}: {error}") from error


def _installed() -> list[Path]:
    try:
        files = distribution(_DISTRIBUTION).files or []
    except PackageNotFoundError:
        return []
    return [
        Path(str(file.locate())).resolve()
        for file in files
        if file.suffix == ".toml" and file.parent.as_posix().endswith(_INSTALLED_FOLDER)
    ]
