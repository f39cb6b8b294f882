"""``sa3d export pointcloud``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from nerfstudio_plugin.cli_export_options import Export3DOptions
from nerfstudio_plugin.cli_progress import ERR, OUT
from sa3d.export.pointcloud import PointCloudConfig, export_pointcloud
from sa3d.export.pointcloud_files import SUFFIXES

HELP = """Write objects as point clouds: colours, normals, label (index of the object), probability.

A file holds one object or several, told apart by their label; a folder gets a file per object.

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
    """A .ply, .pcd or .npz file for all objects chosen, or a folder for a file per object."""
    format: Literal["ply", "pcd", "npz"] = "ply"
    """For a folder; a file's own suffix decides."""
    pointcloud: PointCloudConfig = field(default_factory=PointCloudConfig)

    kind: ClassVar[str] = "pointcloud"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    def run(self) -> dict[str, Any]:
        """Write the point clouds; returns the report."""
        self.pointcloud.check()
        opened = self.reopen()
        placement = opened.placement(self.frame)
        objects = list(opened.segmentation.objects)
        files = {}
        for place, names in self.gathered(opened.segmentation, f".{self.format}").items():
            with ERR.status(f"point cloud of {', '.join(names)}"):
                cloud = export_pointcloud(
                    opened.scene,
                    opened.segmentation,
                    names,
                    place,
                    placement=placement,
                    config=self.pointcloud,
                    overwrite=self.overwrite,
                )
            counts = {n: int(np.sum(cloud.labels == objects.index(n))) for n in names}
            self.leave_manifest(
                opened,
                place,
                names,
                placement=placement,
                settings=self.pointcloud,
                result={"points": len(cloud), "points_of": counts},
            )
            for name, points in counts.items():
                OUT.print(f"{name}: {points} points in {place}")
                files[name] = {"file": str(place), "points": points}
        return {"kind": self.kind, "frame": self.frame, "files": files}
