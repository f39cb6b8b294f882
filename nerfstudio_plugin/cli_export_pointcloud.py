"""``sa3d export pointcloud``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from nerfstudio_plugin.cli_export_options import Export3DOptions
from nerfstudio_plugin.cli_progress import ERR, OUT
from sa3d.export.pointcloud import PointCloudConfig, export_pointcloud

HELP = """Write objects as coloured point clouds with normals.

examples:
  sa3d export pointcloud --segmentation ball --output ball.ply
  sa3d export pointcloud --segmentation all_objects --output clouds/    (one file per object)
"""


@dataclass(kw_only=True)
class Export(Export3DOptions):
    """Point clouds."""

    pointcloud: PointCloudConfig = field(default_factory=PointCloudConfig)

    kind: ClassVar[str] = "pointcloud"
    suffixes: ClassVar[tuple[str, ...]] = (".ply",)

    def run(self) -> dict[str, Any]:
        """Write the point clouds; returns the report."""
        opened = self.reopen()
        placement = opened.placement(self.frame)
        files = {}
        for name, place in self.places(opened.segmentation, ".ply").items():
            with ERR.status(f"point cloud of {name}"):
                cloud = export_pointcloud(
                    opened.scene,
                    opened.segmentation,
                    name,
                    place,
                    placement=placement,
                    config=self.pointcloud,
                    overwrite=self.overwrite,
                )
            counts = {"points": len(cloud)}
            self.leave_manifest(
                opened, place, [name], placement=placement, settings=self.pointcloud, result=counts
            )
            OUT.print(f"{name}: {len(cloud)} points in {place}")
            files[name] = {"file": str(place), **counts}
        return {"kind": self.kind, "frame": self.frame, "files": files}
