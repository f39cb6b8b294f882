"""What all kinds of ``sa3d export`` share: options, places, and the manifest they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nerfstudio_plugin.cli_options import ReportOptions
from nerfstudio_plugin.cli_saved import Reopened, SavedOptions
from sa3d.errors import SA3DError
from sa3d.export.frames import Frame, Placement
from sa3d.export.manifest import file_sha256, write_manifest
from sa3d.segmentation import Segmentation
from sa3d.storage import refuse_existing


@dataclass(kw_only=True)
class ExportOptions(ReportOptions, SavedOptions):
    """What is exported, and where to."""

    output: Path
    """Where to."""
    overwrite: bool = False
    """Replace what is there already."""

    kind: ClassVar[str]
    """Its name on the command line."""

    def source(self, opened: Reopened) -> dict[str, Any]:
        """Where the segmentation comes from: its run, the checkpoint and its hash, versions."""
        return {
            "segmentation": str(self.segmentation.resolve()),
            "load_config": str(opened.run.load_config.resolve()),
            "data": str(opened.run.data.resolve()),
            "checkpoint": opened.run.checkpoint_path.name,
            "checkpoint_sha256": file_sha256(opened.run.checkpoint_path),
            "segmenter": opened.provenance["settings"]["segmenter"],
            "versions": opened.provenance["versions"],
        }

    def leave_manifest(
        self,
        opened: Reopened,
        output: Path,
        names: Sequence[str],
        *,
        files: Sequence[Path] = (),
        placement: Placement | None = None,
        settings: Any = None,
        result: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the manifest of one export; see :func:`sa3d.export.manifest.write_manifest`."""
        return write_manifest(
            output,
            self.kind,
            opened.segmentation,
            names,
            self.source(opened),
            files=files,
            placement=placement,
            settings=settings,
            result=result,
        )


@dataclass(kw_only=True)
class Export3DOptions(ExportOptions):
    """An export in 3D: a file for one object, or a folder for a file per object."""

    output: Path
    """A file for one object, or a folder for a file per object."""
    frame: Frame = "original"
    """original: the frame of the data set's own camera poses; nerfstudio: the run's world."""

    suffixes: ClassVar[tuple[str, ...]]
    """Of the files it can write."""

    def places(self, segmentation: Segmentation, suffix: str) -> dict[str, Path]:
        """The file of every object; ``suffix`` is taken in a folder.

        Raises:
            SA3DError: one file for several objects, or a file exists and may not be replaced.
        """
        names = self.chosen(segmentation)
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
            refuse_existing(place, self.overwrite)
        return places

    def gathered(self, segmentation: Segmentation, suffix: str) -> dict[Path, list[str]]:
        """The objects of every file, for kinds whose files hold several; see :meth:`places`.

        Raises:
            SA3DError: a file exists and may not be replaced.
        """
        if self.output.suffix.lower() not in self.suffixes:
            return {place: [name] for name, place in self.places(segmentation, suffix).items()}
        refuse_existing(self.output, self.overwrite)
        return {self.output: list(self.chosen(segmentation))}
