"""Options and manifest that all kinds of export share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sa3d.base.errors import SA3DError
from sa3d.base.storage import check_new_file
from sa3d.export.config import Frame
from sa3d.objects.names import check_names_apart

if TYPE_CHECKING:
    from nerfstudio_plugin.saved.segmentation_folder import ExportSource
    from sa3d.export.frames import Placement


@dataclass(frozen=True)
class Written:
    """An exported file or folder.

    Attributes:
        place: its path; the manifest is beside it.
        lines: description for users.
        entries: values for JSON of each object in it, by name.
        facts: values for JSON of the whole export.
    """

    place: Path
    lines: Sequence[str]
    entries: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class ExportOptions:
    """Options of an export; each kind is a subclass."""

    output: Path
    """File or folder to write."""
    overwrite: bool = False
    """Replace files that exist."""

    kind: ClassVar[str]
    """Name of the kind, as in ``KINDS``."""

    def check(self) -> None:
        """Check the options, before a run is opened.

        Raises:
            SA3DError: an option is wrong.
        """

    def write(self, opened: ExportSource, names: Sequence[str]) -> Iterator[Written]:
        """Export the named objects, file by file.

        Raises:
            SA3DError: a file exists and ``overwrite`` is False, an object is empty, or a file
                cannot be written.
        """
        raise NotImplementedError

    def report(self, written: Sequence[Written]) -> dict[str, Any]:
        """Return a summary of the export, as plain values for JSON."""
        facts = {key: value for one in written for key, value in one.facts.items()}
        files = {name: entry for one in written for name, entry in one.entries.items()}
        return {"kind": self.kind, **facts, "files": files}

    def write_manifest(
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
    """Return the origin of a segmentation: its run, the checkpoint and its hash, versions."""
    from sa3d.base.file_hash import file_sha256

    return {
        "segmentation": None if opened.folder is None else str(opened.folder.resolve()),
        "load_config": str(Path(opened.run.load_config).resolve()),
        "data": str(opened.run.data.resolve()),
        "checkpoint": opened.run.checkpoint_path.name,
        "checkpoint_sha256": file_sha256(opened.run.checkpoint_path),
        "segmenter": opened.provenance.get("settings", {}).get("segmenter"),
        "versions": opened.provenance.get("versions", {}),
    }


@dataclass(kw_only=True)
class Export3DOptions(ExportOptions):
    """Options of an export in 3D: one file, or a folder with a file for each object."""

    output: Path
    """A file for one object, or a folder that gets a file for each object."""
    frame: Frame = "original"
    """original: frame of the data set's own camera poses; nerfstudio: world frame of the run."""

    suffixes: ClassVar[tuple[str, ...]]
    """Suffixes of the files that this kind can write."""

    def places(self, names: Sequence[str], suffix: str) -> dict[str, Path]:
        """Return the file of every object; in a folder, files get ``suffix``.

        Raises:
            SA3DError: one file for several objects, or a file exists and ``overwrite`` is False.
        """
        if self.output.suffix.lower() not in self.suffixes:
            check_names_apart(names)
            places = {name: self.output / f"{name}{suffix}" for name in names}
        elif len(names) == 1:
            places = {names[0]: self.output}
        else:
            raise SA3DError(
                f"{self.output} is one file, but there are {len(names)} objects "
                f"({', '.join(names)}): choose one of them, or give a folder"
            )
        for place in places.values():
            check_new_file(place, self.overwrite)
        return places

    def files_of(self, names: Sequence[str], suffix: str) -> dict[Path, list[str]]:
        """Return the objects of every file, for kinds with several objects in a file.

        Raises:
            SA3DError: a file exists and ``overwrite`` is False.
        """
        if self.output.suffix.lower() not in self.suffixes:
            return {place: [name] for name, place in self.places(names, suffix).items()}
        check_new_file(self.output, self.overwrite)
        return {self.output: list(names)}
