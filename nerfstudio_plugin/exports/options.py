"""What all kinds of export share: options, places, and the manifest they leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sa3d.base.errors import SA3DError
from sa3d.base.storage import check_new_file
from sa3d.export.config import Frame

if TYPE_CHECKING:
    from nerfstudio_plugin.saved.segmentation_folder import ExportSource
    from sa3d.export.frames import Placement


@dataclass(frozen=True)
class Written:
    """One file or folder that was exported.

    Attributes:
        place: where it is; its manifest lies beside it.
        lines: what it is, in words.
        entries: what there is to know of each object in it, as JSON holds it.
        facts: what there is to know of the whole export.
    """

    place: Path
    lines: Sequence[str]
    entries: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class ExportOptions:
    """Where to export to."""

    output: Path
    """Where to."""
    overwrite: bool = False
    """Replace what is there already."""

    kind: ClassVar[str]
    """Its name on the command line."""

    def check(self) -> None:
        """Refuse options that cannot be, before anything is opened.

        Raises:
            SA3DError: what is wrong.
        """

    def write(self, opened: ExportSource, names: Sequence[str]) -> Iterator[Written]:
        """Export the named objects, file by file.

        Raises:
            SA3DError: something exists and may not be replaced, an object is empty, or the disk
                is full.
        """
        raise NotImplementedError

    def report(self, written: Sequence[Written]) -> dict[str, Any]:
        """What was exported, as JSON holds it."""
        facts = {key: value for one in written for key, value in one.facts.items()}
        files = {name: entry for one in written for name, entry in one.entries.items()}
        return {"kind": self.kind, **facts, "files": files}

    def leave_manifest(
        self,
        opened: ExportSource,
        output: Path,
        names: Sequence[str],
        *,
        files: Sequence[Path] = (),
        placement: Placement | None = None,
        settings: Any = None,
        result: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the manifest of one export; see ``write_manifest``."""
        from sa3d.export.manifest import write_manifest

        return write_manifest(
            output,
            self.kind,
            opened.segmentation,
            names,
            source(opened),
            files=files,
            placement=placement,
            settings=settings,
            result=result,
        )


def source(opened: ExportSource) -> dict[str, Any]:
    """Where a segmentation comes from: its run, the checkpoint and its hash, versions."""
    from sa3d.export.manifest import file_sha256

    return {
        "segmentation": None if opened.folder is None else str(opened.folder.resolve()),
        "load_config": str(Path(opened.run.load_config).resolve()),
        "data": str(opened.run.data.resolve()),
        "checkpoint": opened.run.checkpoint_path.name,
        "checkpoint_sha256": file_sha256(opened.run.checkpoint_path),
        "segmenter": opened.provenance["settings"]["segmenter"],
        "versions": opened.provenance["versions"],
    }


@dataclass(kw_only=True)
class Export3DOptions(ExportOptions):
    """An export in 3D: a file for one object, or a folder for a file per object."""

    output: Path
    """A file for one object, or a folder for a file per object."""
    frame: Frame = "original"
    """original: the frame of the data set's own camera poses; nerfstudio: the run's world."""

    suffixes: ClassVar[tuple[str, ...]]
    """Of the files it can write."""

    def places(self, names: Sequence[str], suffix: str) -> dict[str, Path]:
        """The file of every object; ``suffix`` is taken in a folder.

        Raises:
            SA3DError: one file for several objects, or a file exists and may not be replaced.
        """
        if self.output.suffix.lower() not in self.suffixes:
            places = {name: self.output / f"{name}{suffix}" for name in names}
        elif len(names) == 1:
            places = {names[0]: self.output}
        else:
            raise SA3DError(
                f"{self.output} is one file, but there are {len(names)} objects "
                f"({', '.join(names)}): choose one with --objects, or give a folder"
            )
        for place in places.values():
            check_new_file(place, self.overwrite)
        return places

    def gathered(self, names: Sequence[str], suffix: str) -> dict[Path, list[str]]:
        """The objects of every file, for kinds whose files hold several; see ``places``.

        Raises:
            SA3DError: a file exists and may not be replaced.
        """
        if self.output.suffix.lower() not in self.suffixes:
            return {place: [name] for name, place in self.places(names, suffix).items()}
        check_new_file(self.output, self.overwrite)
        return {self.output: list(names)}
