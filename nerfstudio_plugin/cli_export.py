"""``sa3d export``: a segmentation as masks of the photographs, a point cloud or a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nerfstudio_plugin.cli_options import ReportOptions, parse
from nerfstudio_plugin.cli_progress import ERR, OUT
from nerfstudio_plugin.cli_saved import SavedOptions
from sa3d.errors import SA3DError
from sa3d.export.frames import Frame
from sa3d.export.masks import export_masks
from sa3d.export.mesh import MeshConfig, export_mesh
from sa3d.export.pointcloud import PointCloudConfig, export_pointcloud
from sa3d.segmentation import Segmentation
from sa3d.storage import refuse_existing

_KINDS = {
    "masks": "a mask of every photograph, at its own size: <output>/<object>/<image>.png, 0 or 255",
    "pointcloud": "a coloured point cloud with normals: PLY",
    "mesh": "a coloured triangle mesh: PLY or OBJ",
}

_OVERVIEW = """usage: sa3d export KIND --segmentation DIR --output PLACE [OPTIONS]

kinds:
{kinds}

  sa3d export KIND --help   all options of a kind
"""

_HELP = {
    "masks": """Write a mask of every photograph, at its own size: 255 object, 0 elsewhere.

example:
  sa3d export masks --segmentation ball --output ball_masks
""",
    "pointcloud": """Write objects as coloured point clouds with normals.

examples:
  sa3d export pointcloud --segmentation ball --output ball.ply
  sa3d export pointcloud --segmentation all_objects --output clouds/    (one file per object)
""",
    "mesh": """Write objects as coloured triangle meshes.

examples:
  sa3d export mesh --segmentation ball --output ball.ply
  sa3d export mesh --segmentation ball --output ball.obj --frame nerfstudio
  sa3d export mesh --segmentation all_objects --output meshes/ --format obj
""",
}


@dataclass(kw_only=True)
class ExportMasks(ReportOptions, SavedOptions):
    """Masks of the photographs."""

    output: Path
    """Folder for the masks, one subfolder per object."""
    overwrite: bool = False
    """Replace masks that are there already."""

    def run(self) -> dict[str, Any]:
        """Write the masks; returns the report."""
        opened = self.reopen()
        names = self.chosen(opened.segmentation)
        with ERR.status("writing masks"):
            folders = export_masks(
                opened.scene, opened.segmentation, self.output, names, overwrite=self.overwrite
            )
        files = {name: str(folder) for name, folder in zip(names, folders, strict=True)}
        for name, folder in files.items():
            OUT.print(f"{name}: {len(opened.scene.views)} masks in {folder}")
        return {"kind": "masks", "views": len(opened.scene.views), "files": files}


@dataclass(kw_only=True)
class _Export3D(ReportOptions, SavedOptions):
    output: Path
    """A file for one object, or a folder for a file per object."""
    frame: Frame = "original"
    """original: the frame of the data set's own camera poses; nerfstudio: the run's world."""
    overwrite: bool = False
    """Replace files that are there already."""

    def places(self, segmentation: Segmentation, suffix: str) -> dict[str, Path]:
        """The file of every object.

        Raises:
            SA3DError: one file for several objects, or a file exists and may not be replaced.
        """
        names = self.chosen(segmentation)
        if self.output.suffix.lower() not in (".ply", ".obj"):
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


@dataclass(kw_only=True)
class ExportPointcloud(_Export3D):
    """Point clouds."""

    pointcloud: PointCloudConfig = field(default_factory=PointCloudConfig)

    def run(self) -> dict[str, Any]:
        """Write the point clouds; returns the report."""
        opened = self.reopen()
        files = {}
        for name, place in self.places(opened.segmentation, ".ply").items():
            with ERR.status(f"point cloud of {name}"):
                cloud = export_pointcloud(
                    opened.scene,
                    opened.segmentation,
                    name,
                    place,
                    frame=self.frame,
                    world_to_original=opened.world_to_original,
                    config=self.pointcloud,
                    overwrite=self.overwrite,
                )
            OUT.print(f"{name}: {len(cloud)} points in {place}")
            files[name] = {"file": str(place), "points": len(cloud)}
        return {"kind": "pointcloud", "frame": self.frame, "files": files}


@dataclass(kw_only=True)
class ExportMesh(_Export3D):
    """Meshes."""

    format: Literal["ply", "obj"] = "ply"
    """For a folder; a file's own suffix decides."""
    mesh: MeshConfig = field(default_factory=MeshConfig)

    def run(self) -> dict[str, Any]:
        """Write the meshes; returns the report."""
        opened = self.reopen()
        files = {}
        for name, place in self.places(opened.segmentation, f".{self.format}").items():
            with ERR.status(f"mesh of {name}"):
                mesh = export_mesh(
                    opened.scene,
                    opened.segmentation,
                    name,
                    place,
                    frame=self.frame,
                    world_to_original=opened.world_to_original,
                    config=self.mesh,
                    overwrite=self.overwrite,
                )
            counts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
            OUT.print(f"{name}: {counts['vertices']} vertices, {counts['faces']} faces in {place}")
            files[name] = {"file": str(place), **counts}
        return {"kind": "mesh", "frame": self.frame, "files": files}


_EXPORTERS = {"masks": ExportMasks, "pointcloud": ExportPointcloud, "mesh": ExportMesh}


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d export``.

    Raises:
        SA3DError: something the user can put right.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        OUT.print(_OVERVIEW.format(kinds="\n".join(f"  {k:<11} {v}" for k, v in _KINDS.items())))
        return
    kind = arguments[0]
    if kind not in _KINDS:
        raise SA3DError(f"unknown kind of export {kind!r}; there are: {', '.join(_KINDS)}")
    command = parse(_EXPORTERS[kind], arguments[1:], f"sa3d export {kind}", _HELP[kind])
    command.write_report(command.run())
