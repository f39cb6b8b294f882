"""Oriented bounding boxes of objects: JSON, and the ``--obb_*`` flags of ``ns-export``."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sa3d.base.errors import SA3DError
from sa3d.base.storage import atomic_path, check_new_file
from sa3d.export.config import BoxConfig
from sa3d.export.frames import Placement
from sa3d.export.surface import merge_points, surface_points
from sa3d.objects.segmentation import Segmentation
from sa3d.results.object_volume import object_volume
from sa3d.scene.scene import Scene

_GAP = 3.0
"""Voxels belong to one group if their distance is at most this many times the usual distance."""
_ANGLE_DIGITS = 2
"""Precision of the orientations that are tried: decimals of radians."""


@dataclass(frozen=True)
class Box:
    """An oriented box.

    Attributes:
        center: float64 [3].
        rotation: float64 [3, 3], proper; its columns are the box's axes.
        dimensions: float64 [3], full lengths along those axes.
    """

    center: np.ndarray
    rotation: np.ndarray
    dimensions: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """The eight corners, [8, 3]."""
        signs = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
        return self.center + (signs * self.dimensions) @ self.rotation.T

    @property
    def rotation_rpy(self) -> tuple[float, float, float]:
        """Roll, pitch and yaw in radians, for ns-export: ``R = Rz(yaw) Ry(pitch) Rx(roll)``.

        At a pitch of 90 degrees, where roll and yaw are about the same axis, roll is 0.
        """
        r = self.rotation
        pitch = math.asin(np.clip(-r[2, 0], -1.0, 1.0))
        if abs(r[2, 0]) > 1 - 1e-9:
            return 0.0, pitch, math.atan2(-r[0, 1], r[1, 1])
        return math.atan2(r[2, 1], r[2, 2]), pitch, math.atan2(r[1, 0], r[0, 0])

    def placed(self, placement: Placement) -> Box:
        """Transform this box from the world frame to another frame."""
        center = placement.points(self.center[None])[0]
        axes = placement.directions(self.rotation.T).T
        return _named_by_frame(Box(center, axes, self.dimensions * placement.scale))


def export_boxes(
    scene: Scene,
    segmentation: Segmentation,
    names: Sequence[str],
    path: Path,
    *,
    placement: Placement,
    config: BoxConfig | None = None,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Write the bounding boxes of objects as one JSON file; see ``described`` for the entries.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the objects.
        names: of the objects.
        path: of the file; ends in ``.json``.
        placement: frame of the boxes. The ``ns-export`` flags are always in the world frame.
        config: settings.
        overwrite: replace a file that exists.

    Returns:
        The entries of the objects.

    Raises:
        SA3DError: an object is empty, the suffix is wrong, or the file exists and ``overwrite`` is
            False.
    """
    if path.suffix.lower() != ".json":
        raise SA3DError(f"boxes are written as .json, not as {path.suffix or path.name!r}")
    check_new_file(path, overwrite)
    config = config or BoxConfig()
    boxes = {name: object_box(scene, segmentation, name, config) for name in names}
    entries = [
        {
            "name": name,
            "color": segmentation.colors[name],
            **described(box, placement, config.padding),
        }
        for name, box in boxes.items()
    ]
    content = {"version": 1, "frame": placement.frame, "objects": entries}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return entries


def object_box(
    scene: Scene, segmentation: Segmentation, name: str, config: BoxConfig | None = None
) -> Box:
    """Return the bounding box of an object's surface, in the world frame.

    Raises:
        SA3DError: there is no such object, or it is empty.

    Example:
        >>> box = object_box(scene, segmentation, "mug", BoxConfig(upright=True))
        >>> width, depth, height = box.dimensions
    """
    config = config or BoxConfig()
    points = box_points(scene, segmentation, name, config.min_group)
    return bounding_box(points, upright=config.upright)


def box_points(scene: Scene, segmentation: Segmentation, name: str, min_group: float) -> np.ndarray:
    """Return the points of an object that views see, without stray groups: world, float64 [N, 3].

    Raises:
        SA3DError: the object is empty.
    """
    volume = object_volume(scene, segmentation, name)
    seen = surface_points(scene, segmentation, name, volume)
    keys = scene.grid.keys(seen.positions)
    voxel_of, count = torch.unique(keys, return_inverse=True, return_counts=True)[1:]
    voxels = merge_points(seen, keys).positions.double().numpy()
    group = _groups(voxels)
    points = np.bincount(group, weights=count.numpy())
    kept = points[group] >= min_group * points.max()
    return seen.positions.double().numpy()[kept[voxel_of.numpy()]]


def bounding_box(points: np.ndarray, *, upright: bool = False) -> Box:
    """Return the box of least volume around points [N, 3]; if ``upright``, with one axis along z.

    The axes are ordered by the frame: x is the one closest to the frame's x axis, and so on.
    """
    from trimesh.bounds import oriented_bounds

    centred = points - points.mean(axis=0)
    if np.linalg.matrix_rank(centred) < 3:  # flat: every box in the plane has volume 0
        axes = np.linalg.svd(centred)[2].T
        low, high = (points @ axes).min(axis=0), (points @ axes).max(axis=0)
        return _named_by_frame(Box(axes @ (low + high) / 2, axes, high - low))
    normal = (0.0, 0.0, 1.0) if upright else None
    to_box, dimensions = oriented_bounds(points, _ANGLE_DIGITS, normal=normal)
    from_box = np.linalg.inv(to_box)
    return _named_by_frame(Box(from_box[:3, 3], from_box[:3, :3], np.asarray(dimensions)))


def described(box: Box, placement: Placement, padding: float) -> dict[str, Any]:
    """Return the entry of an object's box in the JSON file.

    Args:
        box: in the world frame.
        placement: frame of the entry.
        padding: of the ``ns-export`` flags; see ``ns_export_flags``.
    """
    placed = box.placed(placement)
    flags = ns_export_flags(box, padding)
    return {
        "center": placed.center.tolist(),
        "dimensions": placed.dimensions.tolist(),
        "rotation": placed.rotation.tolist(),
        "rotation_rpy": list(placed.rotation_rpy),
        "corners": placed.corners.tolist(),
        "ns_export": {
            "frame": "nerfstudio",
            **flags,
            "flags": " ".join(
                f"--{key} " + " ".join(_plain(value) for value in values)
                for key, values in flags.items()
            ),
        },
    }


def ns_export_flags(box: Box, padding: float) -> dict[str, list[float]]:
    """Return ns-export's ``obb_center``, ``obb_rotation`` (roll, pitch, yaw) and ``obb_scale``.

    Args:
        box: in the world frame.
        padding: share of the longest side added at every face.
    """
    return {
        "obb_center": box.center.tolist(),
        "obb_rotation": list(box.rotation_rpy),
        "obb_scale": (box.dimensions + 2 * padding * box.dimensions.max()).tolist(),
    }


def _named_by_frame(box: Box) -> Box:
    """Return the same box with its axes permuted and flipped to be closest to the frame's axes."""
    best = max(
        (
            (box.rotation[:, order] * signs, order)
            for order in map(list, itertools.permutations(range(3)))
            for signs in itertools.product((1.0, -1.0), repeat=3)
        ),
        key=lambda turned: np.trace(turned[0]) if np.linalg.det(turned[0]) > 0 else -np.inf,
    )
    return Box(box.center, best[0], box.dimensions[best[1]])


def _groups(voxels: np.ndarray) -> np.ndarray:
    """Return the group of each voxel, given the mean points [V, 3] of the voxels: [V]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    count = len(voxels)
    tree = KDTree(voxels)
    usual = np.median(tree.query(voxels, k=min(2, count))[0].reshape(count, -1)[:, -1])
    pairs = tree.query_pairs(_GAP * usual, output_type="ndarray")
    edges = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(edges, directed=False)[1]


def _plain(value: float) -> str:
    """Format without an exponent: command lines would read ``-1e-05`` as an option."""
    return f"{round(value, 6) + 0.0:.6f}"  # no -0
