"""Triangle meshes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nerfstudio_plugin.exports.options import Export3DOptions, Written
from sa3d.base.storage import all_or_none, check_new_file
from sa3d.export.config import MESH_SUFFIXES, MeshConfig

if TYPE_CHECKING:
    from nerfstudio_plugin.saved.segmentation_folder import ExportSource
    from sa3d.export.mesh_files import Mesh

HELP = """Write objects as watertight triangle meshes: textured as .glb, .obj, .usdz or .usd, with
colors per vertex as .ply, without colors as .stl.

Coordinates are those of the frame in every format; axes are not turned. glTF viewers take +y as up,
so an object from a frame with z up lies on its back there.

examples:
  sa3d export mesh --segmentation ball --output ball.glb
  sa3d export mesh --segmentation ball --output ball.obj --frame nerfstudio
  sa3d export mesh --segmentation ball --output ball.stl --mesh.cell-size 0.005 --mesh.faces None
  sa3d export mesh --segmentation all_objects --output meshes/ --format usdz
"""

_ORIENTATION = "coordinates as in the frame, axes not turned; glTF viewers take +y as up"


@dataclass(kw_only=True)
class Export(Export3DOptions):
    """Meshes."""

    format: Literal["glb", "obj", "usdz", "usd", "ply", "stl"] = "glb"
    """Format in a folder; a file has the format of its suffix."""
    mesh: MeshConfig = field(default_factory=MeshConfig)

    kind: ClassVar[str] = "mesh"
    suffixes: ClassVar[tuple[str, ...]] = MESH_SUFFIXES

    def check(self) -> None:
        """Check the options; see ``ExportOptions.check``."""
        self.mesh.check()

    def write(self, opened: ExportSource, names: Sequence[str]) -> Iterator[Written]:
        """Write the meshes; see ``ExportOptions.write``."""
        from sa3d.export.mesh import export_mesh
        from sa3d.export.mesh_files import mesh_files

        placement = opened.placement(self.frame)
        places = self.places(names, f".{self.format}")
        for place in places.values():
            for file in mesh_files(place, textured=self.mesh.texture_size > 0):
                check_new_file(file, self.overwrite)
        for name, place in places.items():
            with all_or_none():
                mesh = export_mesh(
                    opened.scene,
                    opened.segmentation,
                    name,
                    place,
                    placement=placement,
                    config=self.mesh,
                    overwrite=self.overwrite,
                )
                result = self._result(place, mesh)
                self.write_manifest(
                    opened,
                    place,
                    [name],
                    files=mesh_files(place, textured=mesh.texture is not None),
                    placement=placement,
                    settings=self.mesh,
                    result=result | {"orientation": _ORIENTATION},
                )
            entries = {name: {"file": str(place), **result}}
            yield Written(place, [_described(name, place, result)], entries, {"frame": self.frame})

    def _result(self, place: Path, mesh: Mesh) -> dict[str, Any]:
        """Return the measures of the mesh and its coloring."""
        from sa3d.export.mesh_cleanup import mesh_report

        coloring = "none" if place.suffix.lower() == ".stl" else f"per vertex, {self.mesh.colors}"
        if mesh.texture is not None:
            height, width = mesh.texture.image.shape[:2]
            coloring = f"texture {width}x{height}, {self.mesh.colors}"
        unit = "scene unit" if self.frame == "original" else "world unit"
        return asdict(mesh_report(mesh.vertices, mesh.faces)) | {"unit": unit, "colors": coloring}


def _described(name: str, place: Path, result: dict[str, Any]) -> str:
    watertight = "watertight" if result["watertight"] else "NOT watertight"
    return (
        f"{name}: {result['vertices']} vertices, {result['faces']} faces, {watertight}, "
        f"{result['components']} part(s), Euler number {result['euler']}, "
        f"volume {result['volume']:.4g} and area {result['area']:.4g} (cubic and square "
        f"{result['unit']}s), colors: {result['colors']}, in {place}"
    )
