"""Point clouds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from nerfstudio_plugin.exports.options import Export3DOptions, Written
from sa3d.base.storage import all_or_none
from sa3d.export.config import POINTCLOUD_SUFFIXES, PointCloudConfig

if TYPE_CHECKING:
    from nerfstudio_plugin.saved.segmentation_folder import ExportSource

HELP = """Write objects as point clouds: colors, normals, label (index of the object), probability.

A file has one object or several, with a label for each; a folder gets a file for each object.

examples:
  sa3d export pointcloud --segmentation ball --output ball.ply
  sa3d export pointcloud --segmentation ball --output ball.ply --pointcloud.count 5000
  sa3d export pointcloud --segmentation all_objects --output all.pcd --pointcloud.spacing 0.01
  sa3d export pointcloud --segmentation all_objects --output clouds/ --format npz
"""


@dataclass(kw_only=True)
class Export(Export3DOptions):
    """Point clouds."""

    output: Path
    """A .ply, .pcd or .npz file for all chosen objects, or a folder that gets a file for each."""
    format: Literal["ply", "pcd", "npz"] = "ply"
    """Format in a folder; a file has the format of its suffix."""
    pointcloud: PointCloudConfig = field(default_factory=PointCloudConfig)

    kind: ClassVar[str] = "pointcloud"
    suffixes: ClassVar[tuple[str, ...]] = POINTCLOUD_SUFFIXES

    def check(self) -> None:
        """Check the options; see ``ExportOptions.check``."""
        self.pointcloud.check()

    def write(self, opened: ExportSource, names: Sequence[str]) -> Iterator[Written]:
        """Write the point clouds; see ``ExportOptions.write``."""
        from sa3d.export.pointcloud import export_pointcloud

        placement = opened.placement(self.frame)
        objects = list(opened.segmentation.objects)
        for place, contained in self.files_of(names, f".{self.format}").items():
            with all_or_none():
                cloud = export_pointcloud(
                    opened.scene,
                    opened.segmentation,
                    contained,
                    place,
                    placement=placement,
                    config=self.pointcloud,
                    overwrite=self.overwrite,
                )
                counts = {n: int((cloud.labels == objects.index(n)).sum()) for n in contained}
                result = {"points": len(cloud), "points_of": counts}
                self.write_manifest(
                    opened,
                    place,
                    contained,
                    placement=placement,
                    settings=self.pointcloud,
                    result=result,
                )
            lines = [f"{name}: {points} points in {place}" for name, points in counts.items()]
            entries = {n: {"file": str(place), "points": points} for n, points in counts.items()}
            yield Written(place, lines, entries, {"frame": self.frame})
