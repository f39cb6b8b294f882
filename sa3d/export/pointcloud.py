"""Point clouds of objects: positions, normals, colors, labels and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sa3d.base.storage import check_new_file
from sa3d.export.config import PointCloudConfig
from sa3d.export.frames import Placement
from sa3d.export.pointcloud_files import PointCloud, check_suffix, write_pointcloud
from sa3d.export.surface import SurfacePoints, merge_points, surface_points
from sa3d.objects.segmentation import Segmentation
from sa3d.results.calibration import calibrated_probability
from sa3d.results.object_volume import object_volume
from sa3d.scene.scene import Scene

_FINEST = 1 << 20
"""Number of cells along the longest side of an object, at most."""


def export_pointcloud(
    scene: Scene,
    segmentation: Segmentation,
    names: Sequence[str],
    path: Path,
    *,
    placement: Placement,
    config: PointCloudConfig | None = None,
    overwrite: bool = False,
) -> PointCloud:
    """Write the surface of objects as one file: ``.ply`` (binary), ``.pcd`` (binary) or ``.npz``.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the objects.
        names: of the objects.
        path: of the file.
        placement: frame in which the points are written.
        config: settings.
        overwrite: replace a file that exists.

    Returns:
        The written cloud, in the frame of ``placement``; each point belongs to one object.

    Raises:
        SA3DError: an object is empty, the suffix is unknown, or the file exists and ``overwrite``
            is False.

    Example:
        >>> placement = Placement.nerfstudio()
        >>> cloud = export_pointcloud(
        ...     scene, segmentation, ["mug", "ball"], Path("objects.ply"), placement=placement
        ... )
    """
    check_suffix(path)
    check_new_file(path, overwrite)
    clouds = [object_pointcloud(scene, segmentation, n, config, placement.scale) for n in names]
    columns = zip(*(vars(cloud).values() for cloud in clouds), strict=True)
    cloud = PointCloud(*map(np.concatenate, columns)).placed(placement)
    write_pointcloud(path, cloud, list(segmentation.objects), placement.frame)
    return cloud


def object_pointcloud(
    scene: Scene,
    segmentation: Segmentation,
    name: str,
    config: PointCloudConfig | None = None,
    scale: float = 1.0,
) -> PointCloud:
    """Make the point cloud of an object's surface, in the world frame.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the object.
        name: of the object.
        config: settings.
        scale: units of ``config.spacing`` per world unit.

    Raises:
        SA3DError: the object is empty, or the settings contradict each other.
    """
    config = config or PointCloudConfig()
    config.check()
    volume = object_volume(scene, segmentation, name)
    seen = surface_points(scene, segmentation, name, volume)
    seen, voxels = _without_outliers(seen, scene.grid.keys(seen.positions), config)
    cells = _cells(scene, seen, config, scale)
    merged = merge_points(seen, cells)
    positions = merged.positions.double().numpy()
    _, nearest = _neighbours(voxels, positions, config.neighbours)
    elements, chance = segmentation.elements, calibrated_probability(segmentation, name)
    at_points = elements.lookup(chance, seen.positions.to(chance)).double().cpu().numpy()
    group = torch.unique(cells, return_inverse=True)[1].numpy()
    cloud = PointCloud(
        positions,
        _normals(voxels[nearest], merged.to_camera.double().numpy()),
        np.rint(merged.colors.clamp(0, 1).numpy() * 255).astype(np.uint8),
        np.full(len(merged), list(segmentation.objects).index(name), dtype=np.int32),
        (np.bincount(group, at_points) / np.bincount(group)).astype(np.float32),
    )
    if config.count is not None and len(cloud) > config.count:
        cloud = cloud[np.linspace(0, len(cloud) - 1, config.count).round().astype(int)]
    return cloud


def _without_outliers(
    seen: SurfacePoints, keys: Tensor, config: PointCloudConfig
) -> tuple[SurfacePoints, np.ndarray]:
    """Remove the points in outlying voxels; return the points and the voxels' mean points [V, 3].

    Whole voxels are judged, since points are sparse where few views look.
    """
    voxels = merge_points(seen, keys).positions.double().numpy()
    spread = _neighbours(voxels, voxels, config.neighbours)[0].mean(axis=1)
    kept = spread <= spread.mean() + config.outlier_deviations * spread.std() + 1e-12
    points = torch.from_numpy(kept)[torch.unique(keys, return_inverse=True)[1]]
    columns = (seen.positions[points], seen.colors[points], seen.to_camera[points])
    return SurfacePoints(*columns), voxels[kept]


def _cells(scene: Scene, seen: SurfacePoints, config: PointCloudConfig, scale: float) -> Tensor:
    """Return the cell of each point, int64 [N]; each cell becomes one point."""
    if config.spacing is not None:
        return _cubes(seen.positions, config.spacing / scale)
    if config.count is None:
        return scene.grid.keys(seen.positions)
    high = float((seen.positions.amax(dim=0) - seen.positions.amin(dim=0)).max().clamp_min(1e-9))
    low = high / _FINEST
    for _ in range(24):  # find the largest side that gives enough cubes
        middle = (low * high) ** 0.5
        enough = len(torch.unique(_cubes(seen.positions, middle))) >= config.count
        low, high = (middle, high) if enough else (low, middle)
    return _cubes(seen.positions, low)


def _cubes(positions: Tensor, side: float) -> Tensor:
    """Return the number of the cube, of a side in world units, of each position: int64 [N]."""
    local = (positions - positions.amin(dim=0)).double()
    cell = (local / max(side, float(local.max()) / _FINEST, 1e-30)).floor().long()
    x, y, z = cell.clamp_max(_FINEST).unbind(dim=-1)
    return (x * (_FINEST + 1) + y) * (_FINEST + 1) + z


def _neighbours(
    points: np.ndarray, queries: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and indices of the ``count + 1`` points nearest to each query: [Q, k]."""
    from scipy.spatial import KDTree

    k = min(count + 1, len(points))
    distances, indices = KDTree(points).query(queries, k=k)
    return distances.reshape(len(queries), k), indices.reshape(len(queries), k)


def _normals(patches: np.ndarray, to_camera: np.ndarray) -> np.ndarray:
    """Return unit normals [N, 3] to the camera: directions of least spread of patches [N, k, 3]."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", centred, centred))
    normals = vectors[:, :, 0]
    away = (normals * to_camera).sum(axis=1) < 0
    return np.where(away[:, None], -normals, normals)
