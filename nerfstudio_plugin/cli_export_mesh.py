"""``sa3d export mesh``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nerfstudio_plugin.cli_export_options import Export3DOptions
from nerfstudio_plugin.cli_progress import ERR, OUT
from sa3d.export.mesh import MeshConfig, export_mesh

HELP = """Write objects as coloured triangle meshes.

examples:
  sa3d export mesh --segmentation ball --output ball.ply
  sa3d export mesh --segmentation ball --output ball.obj --frame nerfstudio
  sa3d export mesh --segmentation all_objects --output meshes/ --format obj
"""


@dataclass(kw_only=True)
class Export(Export3DOptions):
    """Meshes."""

    format: Literal["ply", "obj"] = "ply"
    """For a folder; a file's own suffix decides."""
    mesh: MeshConfig = field(default_factory=MeshConfig)

    kind: ClassVar[str] = "mesh"
    suffixes: ClassVar[tuple[str, ...]] = (".ply", ".obj")

    def run(self) -> dict[str, Any]:
        """Write the meshes; returns the report."""
        opened = self.reopen()
        placement = opened.placement(self.frame)
        files = {}
        for name, place in self.places(opened.segmentation, f".{self.format}").items():
            with ERR.status(f"mesh of {name}"):
                mesh = export_mesh(
                    opened.scene,
                    opened.segmentation,
                    name,
                    place,
                    placement=placement,
                    config=self.mesh,
                    overwrite=self.overwrite,
                )
            counts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
            self.leave_manifest(
                opened, place, [name], placement=placement, settings=self.mesh, result=counts
            )
            OUT.print(f"{name}: {counts['vertices']} vertices, {counts['faces']} faces in {place}")
            files[name] = {"file": str(place), **counts}
        return {"kind": self.kind, "frame": self.frame, "files": files}
