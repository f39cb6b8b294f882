"""The oriented bounding box of an object: JSON, and the ``--obb_*`` flags of ``ns-export``."""

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
"""Voxels this many times the usual distance apart, or less, belong to one group."""
_ANGLE_DIGITS = 2
"""Orientations are tried this finely: decimals of radians."""


@dataclass(frozen=True)
class Box:
    """A box in some frame.

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
        """Roll, pitch, yaw in radians, as ns-export wants them: ``R = Rz(yaw) Ry(pitch) Rx(roll)``.

        With the pitch at 90 degrees, where roll and yaw turn about the same line, roll is 0.
        """
        r = self.rotation
        pitch = math.asin(np.clip(-r[2, 0], -1.0, 1.0))
        if abs(r[2, 0]) > 1 - 1e-9:
            return 0.0, pitch, math.atan2(-r[0, 1], r[1, 1])
        return math.atan2(r[2, 1], r[2, 2]), pitch, math.atan2(r[1, 0], r[0, 0])

    def placed(self, placement: Placement) -> Box:
        """This box, in the world frame, taken to another one."""
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
    """Write the boxes of objects as one JSON file; see ``described`` for an object's entry.

    Args:
        placement: the frame of the boxes; the ``ns-export`` flags are in Nerfstudio's own always.

    Returns:
        The objects' entries.

    Raises:
        SA3DError: an object is empty, the suffix unknown, or the file exists and may not be
            replaced.
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
    """The box around an object's surface, in the world frame.

    Raises:
        SA3DError: the object is empty.
    """
    config = config or BoxConfig()
    points = box_points(scene, segmentation, name, config.min_group)
    return bounding_box(points, upright=config.upright)


def box_points(scene: Scene, segmentation: Segmentation, name: str, min_group: float) -> np.ndarray:
    """What the views see of an object, stray groups left out: world points [N, 3], float64.

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
    """The box of least volume around points [N, 3], or of those with an axis along z.

    Its axes are named by the frame: x is the one closest to the frame's x, and so on.
    """
    from trimesh.bounds import oriented_bounds

    centred = points - points.mean(axis=0)
    if np.linalg.matrix_rank(centred) < 3:  # flat: any box in its plane has no volume
        axes = np.linalg.svd(centred)[2].T
        low, high = (points @ axes).min(axis=0), (points @ axes).max(axis=0)
        return _named_by_frame(Box(axes @ (low + high) / 2, axes, high - low))
    normal = (0.0, 0.0, 1.0) if upright else None
    to_box, dimensions = oriented_bounds(points, _ANGLE_DIGITS, normal=normal)
    from_box = np.linalg.inv(to_box)
    return _named_by_frame(Box(from_box[:3, 3], from_box[:3, :3], np.asarray(dimensions)))


def described(box: Box, placement: Placement, padding: float) -> dict[str, Any]:
    """What an object's entry in the file says of its box.

    Args:
        box: in the world frame.
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
    """``obb_center``, ``obb_rotation`` (roll, pitch, yaw) and ``obb_scale`` of ``ns-export``.

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
    """The same box with its axes permuted and turned round to be closest to the frame's own."""
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
    """Which group each voxel's mean point [V, 3] belongs to, [V]."""
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
    """Decimals without an exponent, which command lines take for an option if it is negative."""
    return f"{round(value, 6) + 0.0:.6f}"  # no -0
