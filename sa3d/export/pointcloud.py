"""An object as a point cloud: positions, normals and colours in a binary PLY."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sa3d.errors import SA3DError
from sa3d.export.frames import Placement
from sa3d.export.surface import merge_points, surface_points
from sa3d.object_volume import object_volume
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.storage import atomic_path, refuse_existing


@dataclass
class PointCloudConfig:
    """How a point cloud is made."""

    neighbours: int = 16
    """Nearest points that define a point's normal, and whether it is an outlier."""
    outlier_deviations: float = 2.5
    """A point whose mean distance to its neighbours exceeds the average by more than this many
    standard deviations is dropped."""


@dataclass(frozen=True)
class PointCloud:
    """N points: float64 [N, 3] positions, float64 [N, 3] unit normals, uint8 [N, 3] RGB."""

    positions: np.ndarray
    normals: np.ndarray
    colors: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def placed(self, placement: Placement) -> PointCloud:
        """This cloud, in the world frame, taken to another one."""
        positions = placement.points(self.positions)
        return replace(self, positions=positions, normals=placement.directions(self.normals))


def export_pointcloud(
    scene: Scene,
    segmentation: Segmentation,
    name: str,
    path: Path,
    *,
    placement: Placement,
    config: PointCloudConfig | None = None,
    overwrite: bool = False,
) -> PointCloud:
    """Write an object's surface as a binary PLY, one point per voxel of the mask grid.

    Args:
        placement: the frame it is written in.

    Returns:
        What was written.

    Raises:
        SA3DError: the object is empty, or the file exists and may not be replaced.
    """
    if path.suffix.lower() != ".ply":
        raise SA3DError(f"a point cloud is written as .ply, not as {path.suffix or 'no suffix'!r}")
    refuse_existing(path, overwrite)
    cloud = object_pointcloud(scene, segmentation, name, config).placed(placement)
    with atomic_path(path) as temporary:
        write_ply(temporary, cloud)
    return cloud


def object_pointcloud(
    scene: Scene, segmentation: Segmentation, name: str, config: PointCloudConfig | None = None
) -> PointCloud:
    """An object's surface in the world frame.

    Raises:
        SA3DError: the object is empty.
    """
    config = config or PointCloudConfig()
    volume = object_volume(scene, segmentation, name)
    seen = surface_points(scene, segmentation, name, volume)
    merged = merge_points(seen, scene.grid.keys(seen.positions))
    positions = merged.positions.double().numpy()
    distances, neighbours = _neighbours(positions, config.neighbours)
    normals = _normals(positions[neighbours], merged.to_camera.double().numpy())
    spread = distances.mean(axis=1)
    kept = spread <= spread.mean() + config.outlier_deviations * spread.std() + 1e-12
    colors = np.rint(merged.colors.clamp(0, 1).numpy() * 255).astype(np.uint8)
    return PointCloud(positions[kept], normals[kept], colors[kept])


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Write a binary PLY with float32 positions and normals and uint8 colours."""
    floats, colors = ("x", "y", "z", "nx", "ny", "nz"), ("red", "green", "blue")
    record = np.dtype([(f, "<f4") for f in floats] + [(c, "u1") for c in colors])
    vertices = np.empty(len(cloud), dtype=record)
    for i, axis in enumerate(("x", "y", "z")):
        vertices[axis] = cloud.positions[:, i]
        vertices[f"n{axis}"] = cloud.normals[:, i]
        vertices[colors[i]] = cloud.colors[:, i]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}"]
    header += [f"property float {f}" for f in floats] + [f"property uchar {c}" for c in colors]
    with path.open("wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
        file.write(vertices.tobytes())


def _neighbours(positions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances to and indices of each point's nearest points, itself first: [N, k] each."""
    from scipy.spatial import KDTree

    k = min(count + 1, len(positions))
    distances, indices = KDTree(positions).query(positions, k=k)
    return distances.reshape(len(positions), k), indices.reshape(len(positions), k)


def _normals(patches: np.ndarray, to_camera: np.ndarray) -> np.ndarray:
    """Unit normals [N, 3]: least spread direction of patches [N, k, 3], turned to the camera."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", centred, centred))
    normals = vectors[:, :, 0]
    away = (normals * to_camera).sum(axis=1) < 0
    return np.where(away[:, None], -normals, normals)
