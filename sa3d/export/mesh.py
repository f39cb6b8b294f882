"""An object as a triangle mesh: marching cubes over the NeRF's density inside the object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sa3d.errors import SA3DError
from sa3d.export.frames import Placement
from sa3d.export.surface import SurfacePoints, surface_points
from sa3d.object_volume import ObjectVolume, object_volume
from sa3d.radiance_field import RadianceField
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.storage import atomic_path, refuse_existing

_MAX_CELLS = 1 << 27
_POINTS_PER_CHUNK = 1 << 18


@dataclass
class MeshConfig:
    """How a mesh is made."""

    samples_per_voxel: int = 2
    """Density samples along each side of a mask grid voxel; fewer if the object is very large."""
    density_level: float | None = None
    """Density of the surface, per world unit; half the usual density on the surface by default."""
    min_component: float = 0.05
    """Loose parts smaller than this share of the largest part are dropped."""


@dataclass(frozen=True)
class Mesh:
    """Triangles: float64 [V, 3] vertices, int64 [F, 3] faces facing outward, uint8 [V, 3] RGB."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray

    def placed(self, placement: Placement) -> Mesh:
        """This mesh, in the world frame, taken to another one."""
        faces = self.faces[:, ::-1].copy() if placement.mirrored else self.faces
        return replace(self, vertices=placement.points(self.vertices), faces=faces)


def export_mesh(
    scene: Scene,
    segmentation: Segmentation,
    name: str,
    path: Path,
    *,
    placement: Placement,
    config: MeshConfig | None = None,
    overwrite: bool = False,
) -> Mesh:
    """Write an object's surface as PLY or OBJ, by the path's suffix, with vertex colours.

    Args:
        placement: the frame it is written in.

    Returns:
        What was written.

    Raises:
        SA3DError: the object is empty, the suffix unknown, or the file exists and may not be
            replaced.
    """
    suffix = path.suffix.lower()
    if suffix not in (".ply", ".obj"):
        raise SA3DError(f"a mesh is written as .ply or .obj, not as {path.suffix or 'no suffix'!r}")
    refuse_existing(path, overwrite)
    mesh = object_mesh(scene, segmentation, name, config).placed(placement)
    import trimesh

    exported = trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_colors=mesh.colors, process=False
    ).export(file_type=suffix[1:])
    with atomic_path(path) as temporary:
        temporary.write_bytes(exported if isinstance(exported, bytes) else str(exported).encode())
    return mesh


def object_mesh(
    scene: Scene, segmentation: Segmentation, name: str, config: MeshConfig | None = None
) -> Mesh:
    """An object's surface in the world frame.

    Raises:
        SA3DError: the object is empty.
    """
    config = config or MeshConfig()
    volume = object_volume(scene, segmentation, name)
    points = surface_points(scene, segmentation, name, volume)
    level = config.density_level
    if level is None:
        level = 0.5 * float(scene.field.density(points.positions).median())
    factor = config.samples_per_voxel
    while factor > 1 and volume.share.numel() * factor**3 > _MAX_CELLS:
        factor -= 1
    occupancy = _occupancy(scene.field, volume, factor, max(level, 1e-6))
    occupancy = _tidied(occupancy, config.min_component)
    if not (occupancy > 0.5).any():
        raise SA3DError(f"object {name!r} has no density inside: nothing to export")
    vertices, faces = _marching_cubes(occupancy)
    unit = (torch.from_numpy(vertices) / factor + volume.corner.cpu()) / volume.grid.resolution
    world = volume.grid.bounds.to_world(unit.double()).numpy()
    return Mesh(world, faces, _colors(world, points))


def _occupancy(field: RadianceField, volume: ObjectVolume, factor: int, level: float) -> np.ndarray:
    """How full each of ``factor``^3 cells per voxel is, float32 [X, Y, Z]; the surface is at 0.5.

    ``min(share, density / (2 level))``, and 1 in the dark inside, which a NeRF leaves undefined.
    """
    shape = tuple(side * factor for side in volume.share.shape)
    share = torch.nn.functional.interpolate(
        volume.share[None, None], shape, mode="trilinear", align_corners=False
    )[0, 0]
    dark = volume.dark
    for axis in range(3):
        dark = dark.repeat_interleave(factor, dim=axis)
    wanted = torch.nonzero((share > 0.25) & ~dark)
    occupancy = dark.float()
    for cells in wanted.split(_POINTS_PER_CHUNK):
        unit = ((cells + 0.5) / factor + volume.corner) / volume.grid.resolution
        density = field.density(volume.grid.bounds.to_world(unit)).to(share)
        x, y, z = cells.unbind(dim=-1)
        occupancy[x, y, z] = torch.minimum(share[x, y, z], (density / (2 * level)).clamp_max(1))
    return occupancy.cpu().numpy()


def _tidied(occupancy: np.ndarray, min_share: float) -> np.ndarray:
    """The volume without closed cavities, and without loose parts much smaller than the largest."""
    from scipy.ndimage import binary_fill_holes
    from skimage.measure import label

    filled = np.asarray(binary_fill_holes(occupancy > 0.5))
    occupancy = np.where(filled & (occupancy <= 0.5), np.float32(1), occupancy)
    parts = np.asarray(label(filled, connectivity=3))
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    small = sizes < min_share * sizes.max()
    small[0] = False
    return np.where(small[parts], np.float32(0), occupancy)


def _marching_cubes(occupancy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in cells from the volume's corner, and faces [F, 3] facing outward."""
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(np.pad(occupancy, 1), 0.5)
    outward = faces[:, ::-1].astype(np.int64)
    return vertices - 0.5, outward  # minus the padding, plus half a cell


def _colors(vertices: np.ndarray, points: SurfacePoints) -> np.ndarray:
    """Mean photo colour of the surface points nearest to each vertex, uint8 [V, 3]."""
    from scipy.spatial import KDTree

    count = min(4, len(points))
    _, nearest = KDTree(points.positions.numpy()).query(vertices, k=count)
    rgb = points.colors.numpy()[nearest.reshape(len(vertices), count)].mean(axis=1)
    return np.rint(rgb.clip(0, 1) * 255).astype(np.uint8)
