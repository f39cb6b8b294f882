"""The options that commands share, and how a command line is parsed.

Only what options need is imported here: help and wrong options are answered without torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import tyro

from nerfstudio_plugin.fields.config import FieldsConfig
from nerfstudio_plugin.runs.devices import torch_device
from sa3d.base.errors import SA3DError
from sa3d.base.printable import one_line
from sa3d.base.storage import write_json
from sa3d.loop.settings import Settings, load_settings
from sa3d.objects.folder import refuse_to_replace

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene
    from sa3d.objects.checkpoint import SavedSegmentation
    from sa3d.objects.segmentation import Segmentation

_Command = TypeVar("_Command")

_LONGEST_NAME = 255
"""Bytes of a file's name that file systems hold."""

_VALUE_AFTER = re.compile(
    r"\b(objects?|for|of|called|named?|scene|view|photo|mode|kind|key|option|config|segmenter|"
    r"detector|device|job|no|not|as|finds)\W?\s*$"
)
"""Words after which a quoted name is a value, such as the name of an object, and not an option."""


@dataclass(kw_only=True)
class RunOptions:
    """A trained run."""

    load_config: Path
    """The run's config.yml, as written by ns-train, or a folder above it: the newest run there."""
    load_step: int | None = None
    """Training step of the checkpoint; the latest one by default."""
    data: Path | None = None
    """The scene's photos and cameras, if they are not where the config says."""
    cache_dir: Path | None = None
    """Folder for scene caches; sa3d_cache beside config.yml by default."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    fields: FieldsConfig = field(default_factory=FieldsConfig)

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
            load_step=self.load_step,
            tcnn=self.fields.tcnn,
        )


@dataclass(kw_only=True)
class PresetOptions:
    """A preset."""

    config: str = "default"
    """A preset (default, unbounded, forward_facing, demo) or a .toml file; options given
    here override it."""


@dataclass(kw_only=True)
class SettingsOptions(PresetOptions):
    """A preset, and changes to it."""

    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)


@dataclass(kw_only=True)
class ReportOptions:
    """A report beside the results themselves."""

    json: Path | None = None
    """Also write what the command reports to this file, as JSON."""

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Write the report if the user asked for one.

        Raises:
            SA3DError: the file cannot be written.
        """
        if self.json is not None:
            write_json(self.json, report)


@dataclass(kw_only=True)
class SavedOptions:
    """A saved segmentation."""

    segmentation: Path
    """Folder written by sa3d segment."""
    objects: tuple[str, ...] = ()
    """Only these objects; all by default."""
    load_config: Path | None = None
    """The run's config.yml, if it was moved since, or not opened on this computer before."""
    data: Path | None = None
    """The scene's photos and cameras, if they were moved since."""
    cache_dir: Path | None = None
    """Folder of scene caches, if they were moved since."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    fields: FieldsConfig = field(default_factory=FieldsConfig)

    def load(self) -> SavedSegmentation:
        """Load the segmentation without its run, which takes a second instead of many.

        Raises:
            SA3DError: it is damaged, or has no object of a name that was given.
        """
        from sa3d.objects.checkpoint import load_segmentation

        saved = load_segmentation(self.segmentation, torch_device(self.device))
        for name in self.objects:
            saved.segmentation.object(name)
        return saved

    def reopen(self, saved: SavedSegmentation | None = None) -> OpenScene:
        """Open the segmentation, its run and its scene; prepare the views the cache lacks.

        Args:
            saved: what ``load`` returned, changed or not; loaded by default.

        Raises:
            SA3DError: the segmentation is damaged, has no object of a name that was given, or was
                made from another checkpoint or other data than its run has now.
        """
        from nerfstudio_plugin.api import opening
        from nerfstudio_plugin.cli.terminal import confirmed, opening_bar, prepare_with_progress
        from nerfstudio_plugin.runs.known_runs import UnknownRunError

        def load(load_config: Path | None) -> OpenScene:
            with opening_bar():
                return opening.load(
                    self.segmentation,
                    load_config=load_config,
                    data=self.data,
                    cache_dir=self.cache_dir,
                    device=self.device,
                    tcnn=self.fields.tcnn,
                    saved=saved,
                )

        saved = saved or self.load()
        try:
            opened = load(self.load_config)
        except UnknownRunError as unknown:
            if not confirmed(
                f"{self.segmentation} was made in a run that you have not opened on this computer "
                f"before: {unknown.load_config}. Open it?"
            ):
                raise
            opened = load(unknown.load_config)
        prepare_with_progress(opened.scene)
        return opened

    def chosen(self, segmentation: Segmentation) -> Sequence[str]:
        """Return the names of the objects that were asked for."""
        return self.objects or tuple(segmentation.objects)


@dataclass(kw_only=True)
class ChangeOptions(SavedOptions):
    """A saved segmentation that is changed, and where the changed one is written."""

    output: Path | None = None
    """Folder for the changed segmentation; by default it replaces the one it changes."""
    overwrite: bool = False
    """Replace a segmentation that is in --output already."""
    objects: tyro.conf.Suppress[tuple[str, ...]] = ()

    def place(self) -> tuple[Path, bool]:
        """Return the folder to write to, and whether what is in it may be replaced.

        Raises:
            SA3DError: the folder holds something that may not be replaced.
        """

        output = self.output or self.segmentation
        overwrite = self.overwrite or output.resolve() == self.segmentation.resolve()
        refuse_to_replace(output, overwrite=overwrite)
        return output, overwrite

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other programs from changing the segmentation, and what is written, in the block.

        Waits for those that do, and says so.

        Raises:
            SA3DError: a folder cannot be written to.
        """
        from nerfstudio_plugin.cli.terminal import ERR
        from nerfstudio_plugin.saved.folder_lock import locked

        folders = {self.segmentation.resolve(), (self.output or self.segmentation).resolve()}
        with ExitStack() as stack:
            for folder in sorted(folders):  # in one order, so that no two wait for each other
                stack.enter_context(locked(folder, say=ERR.print))
            yield


def run(
    act: Callable[[_Command], int | None],
    kind: type[_Command],
    arguments: Sequence[str],
    prog: str,
    description: str,
    preset: str = "default",
) -> int | None:
    """Parse arguments into a command and act on it; return what ``act`` returns.

    Args:
        act: does the command's work. Heavy modules are imported in it, not before.
        kind, arguments, prog, description, preset: see ``parse``.

    Raises:
        SA3DError: the preset is wrong, or ``act`` raised one; its message names options by their
            flags.
        SystemExit: help was asked for (0), or an option is wrong (2).
    """
    command = parse(kind, arguments, prog, description, preset)
    check_paths(command)
    try:
        return act(command)
    except SA3DError as error:
        raise SA3DError(with_flags(str(error), kind)) from error


def check_paths(options: Any) -> None:
    """Check that the paths among a command's options can be names of files on any system.

    Raises:
        SA3DError: one cannot.
    """
    for item in fields(options):
        value = getattr(options, item.name)
        if is_dataclass(value):
            check_paths(value)
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path):
                check_path(path, item.name)


def check_path(path: Path, name: str) -> None:
    """Check that a path can be the name of a file: see ``check_paths``.

    Raises:
        SA3DError: it cannot; ``name`` says of what it is the path.
    """
    try:
        longest = max((len(part.encode()) for part in path.parts), default=0)
    except UnicodeEncodeError:
        raise SA3DError(f"'{name}' {str(path)!r} is not valid text: rename the file") from None
    if "\0" in str(path):
        raise SA3DError(f"'{name}' {str(path)!r} has a zero byte in it")
    if longest > _LONGEST_NAME:
        shown = f"{str(path)[:40]}..."
        raise SA3DError(f"'{name}' {shown!r} has a name of more than {_LONGEST_NAME} bytes")


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
        arguments: without the command's own name.
        prog: the command's name, for the usage line.
        description: printed as it is, so it may hold examples.
        preset: taken if the arguments name none.

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
    try:
        return tyro.cli(
            kind,
            prog=prog,
            description=description,
            args=list(arguments),
            default=kind(**defaults),
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except SA3DError as error:  # the settings check their values
        raise SA3DError(with_flags(str(error), kind)) from error


def _preset_named(arguments: Sequence[str]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == "--config" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    return None


def option_names(kind: type) -> set[str]:
    """Return the dotted names of a command's options, as errors of the core spell them.

    Example:
        >>> sorted(option_names(Prepare))[:3]
        ['cache_dir', 'config', 'data']
    """
    names = set()
    hints = get_type_hints(kind, include_extras=True)
    for item in fields(kind):
        marks = getattr(hints[item.name], "__metadata__", ())
        if tyro.conf.Positional in marks or tyro.conf.Suppress in marks:
            continue
        inner = get_type_hints(kind)[item.name]
        if not is_dataclass(inner):
            names.add(item.name)
            continue
        hidden = any(getattr(mark, "name", None) == "" for mark in marks)
        prefix = "" if hidden else f"{item.name}."
        names |= {prefix + name for name in option_names(inner)}  # pyright: ignore[reportArgumentType]
    return names


def print_failed(failed: Mapping[str, str], kind: type) -> int:
    """Print one line for each object that failed, and return the exit code: 1 if there is one.

    Args:
        failed: the problem of each object, by name.
        kind: the command's class, whose options the problems name.
    """
    from nerfstudio_plugin.cli.terminal import ERR

    for name, problem in failed.items():
        ERR.print(one_line(f"failed: {name}: {with_flags(problem, kind)}"), soft_wrap=True)
    return 1 if failed else 0


def with_flags(message: str, kind: type) -> str:
    """Return a message of the core with a command's options in it as flags.

    ``sa3d.base.errors`` has the rule: ``'prepare.ray_side'`` becomes ``--prepare.ray-side``, and
    ``overwrite=True`` becomes ``--overwrite``. Names that are not options of the command stay as
    they are, and so do quoted names that are values: ``object 'box'``.
    """
    names = option_names(kind)

    def flag(name: str) -> str:
        return "--" + name.replace("_", "-")

    def quoted(found: re.Match[str]) -> str:
        value = _VALUE_AFTER.search(message[: found.start()]) is not None
        return found[0] if value or found[1] not in names else flag(found[1])

    def keyword(found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip("'\"")
        if name not in names:
            return found[0]
        if value in ("True", "False"):
            return flag(name) if value == "True" else f"--no-{flag(name)[2:]}"
        return f"{flag(name)} {value}"

    dotted = r"[a-z_]+(?:\.[a-z_]+)*"
    message = re.sub(rf"'({dotted})'", quoted, message)
    return re.sub(rf"(?<![\w.'\"])({dotted})=('[^']*'|\"[^\"]*\"|[\w.+-]*\w)", keyword, message)
