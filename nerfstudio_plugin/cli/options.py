"""What the subcommands share: options, how they are parsed, and what is printed and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

from nerfstudio_plugin.saved.segmentation_folder import write_json
from sa3d.loop.settings import Settings, load_settings

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene

_Command = TypeVar("_Command")


@dataclass(kw_only=True)
class RunOptions:
    """Which trained scene."""

    load_config: Path
    """The run's config.yml, as written by ns-train, or the folder it lies in."""
    data: Path | None = None
    """The scene's images and cameras, if they are not where the config says."""
    cache_dir: Path | None = None
    """Where scene caches lie; sa3d_cache beside config.yml by default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""

    def open(self, settings: Settings) -> OpenScene:
        """Open the run; evaluates nothing yet.

        Raises:
            SA3DError: a problem with the run that the user can solve.
        """
        from nerfstudio_plugin.api import opening

        return opening.open(
            self.load_config,
            settings,
            data=self.data,
            cache_dir=self.cache_dir,
            device=self.device,
        )


@dataclass(kw_only=True)
class PresetOptions:
    """A preset."""

    config: str = "default"
    """A preset (default, unbounded, forward_facing, demo) or a .toml file; options given
    here win over it."""


@dataclass(kw_only=True)
class SettingsOptions(PresetOptions):
    """A preset, and changes to it."""

    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)


@dataclass(kw_only=True)
class ReportOptions:
    """What is written beside the results themselves."""

    json: Path | None = None
    """Also write what the command reports to this file, machine-readable."""

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Write the report where the user wants one.

        Raises:
            SA3DError: it cannot be written.
        """
        if self.json is not None:
            write_json(self.json, report)


def parse(
    kind: type[_Command],
    arguments: Sequence[str],
    prog: str,
    description: str,
    preset: str = "default",
) -> _Command:
    """Parse arguments into a command; the preset named by ``--config`` gives the defaults.

    Args:
        kind: the command's dataclass.
        description: shown as it is, so it may hold examples.
        preset: taken where the arguments name none.

    Raises:
        SA3DError: the preset is unknown or wrong.
        SystemExit: help was asked for (0), or an option is wrong (2).
    """
    defaults: dict[str, Any] = {
        item.name: tyro.MISSING
        for item in fields(kind)  # pyright: ignore[reportArgumentType]
        if item.default is MISSING and item.default_factory is MISSING
    }
    if issubclass(kind, PresetOptions):
        named = _preset_named(arguments) or preset
        settings = load_settings(named)
        values = {"config": named, "settings": settings, "prepare": settings.prepare}
        names = {item.name for item in fields(kind)}
        defaults |= {name: value for name, value in values.items() if name in names}
    return tyro.cli(
        kind,
        prog=prog,
        description=description,
        args=list(arguments),
        default=kind(**defaults),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _preset_named(arguments: Sequence[str]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == "--config" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    return None
