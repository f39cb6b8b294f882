"""Point clouds and their files: PLY and PCD, both binary, and NPZ."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sa3d.base.array_files import save_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.storage import atomic_path
from sa3d.export.config import POINTCLOUD_SUFFIXES, Frame
from sa3d.export.frames import Placement

_TOLERANCE = 1e-5
"""Positions are written as float32 if rounding moves them by no more than this share of the
extent."""


@dataclass(frozen=True)
class PointCloud:
    """N surface points of one object or several.

    Attributes:
        positions: float64 [N, 3].
        normals: float64 [N, 3], unit length, towards the cameras.
        colors: uint8 [N, 3], RGB of the photos.
        labels: int32 [N], index of the point's object in the segmentation.
        probabilities: float32 [N] in [0, 1], probability that the point is on its object.
    """

    positions: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def placed(self, placement: Placement) -> PointCloud:
        """Transform this cloud from the world frame to another frame."""
        positions = placement.points(self.positions)
        return replace(self, positions=positions, normals=placement.directions(self.normals))

    def __getitem__(self, chosen: np.ndarray) -> PointCloud:
        return PointCloud(*(column[chosen] for column in vars(self).values()))


def check_suffix(path: Path) -> None:
    """Check that a path has a suffix of a point cloud.

    Raises:
        SA3DError: the suffix is not in ``POINTCLOUD_SUFFIXES``.
    """
    if path.suffix.lower() not in POINTCLOUD_SUFFIXES:
        known = ", ".join(POINTCLOUD_SUFFIXES[:-1]) + " or " + POINTCLOUD_SUFFIXES[-1]
        raise SA3DError(f"a point cloud is written as {known}, not as {path.suffix or path.name!r}")


def write_pointcloud(path: Path, cloud: PointCloud, names: Sequence[str], frame: Frame) -> None:
    """Write a point cloud in the format of the suffix; the file appears complete or not at all.

    ``.npz`` holds ``positions`` (float64 [N, 3]), ``normals`` (float32 [N, 3]), ``colors`` (uint8
    [N, 3]), ``label`` (int32 [N]), ``probability`` (float32 [N]), ``names`` (of the objects, by
    label) and ``frame``. ``.ply`` and ``.pcd`` hold the same as properties of their points; PLY
    names the frame and the objects in comments.

    Args:
        names: of the objects, by label.

    Raises:
        SA3DError: the suffix is unknown, or the file cannot be written.
    """
    check_suffix(path)
    if path.suffix.lower() == ".npz":
        save_arrays(
            path,
            {
                "positions": cloud.positions,
                "normals": cloud.normals.astype(np.float32),
                "colors": cloud.colors,
                "label": cloud.labels,
                "probability": cloud.probabilities,
                "names": np.array(names),
                "frame": np.array(frame),
            },
            compress=True,
        )
        return
    encoded = _ply(cloud, names, frame) if path.suffix.lower() == ".ply" else _pcd(cloud)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)


def _ply(cloud: PointCloud, names: Sequence[str], frame: Frame) -> bytes:
    from plyfile import PlyData, PlyElement

    red, green, blue = cloud.colors.T
    colors = {"red": red, "green": green, "blue": blue}
    points = _records(cloud, ("nx", "ny", "nz"), "<f4", colors, "<i4")
    labels = [f"label {i} {json.dumps(name)}" for i, name in enumerate(names)]
    file = io.BytesIO()
    vertices = PlyElement.describe(points, "vertex")
    PlyData([vertices], byte_order="<", comments=[f"frame {frame}", *labels]).write(file)
    return file.getvalue()


def _pcd(cloud: PointCloud) -> bytes:
    """Encode PCD 0.7 as the Point Cloud Library does: colors packed in a float, label unsigned.

    Normals have the type of positions, as Open3D's reader expects. Own code: Open3D would write
    these properties, too, but takes 2.3 s to import and is not a dependency.
    """
    red, green, blue = cloud.colors.astype(np.uint32).T
    packed = ((red << 16) | (green << 8) | blue).view(np.float32)
    names = ("normal_x", "normal_y", "normal_z")
    points = _records(cloud, names, _position_type(cloud.positions), {"rgb": packed}, "<u4")
    assert points.dtype.names is not None
    kinds = [points.dtype[name] for name in points.dtype.names]
    header = {
        "VERSION": "0.7",
        "FIELDS": " ".join(points.dtype.names),
        "SIZE": " ".join(str(kind.itemsize) for kind in kinds),
        "TYPE": " ".join(kind.kind.upper() for kind in kinds),
        "COUNT": " ".join("1" for _ in kinds),
        "WIDTH": len(cloud),
        "HEIGHT": 1,
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": len(cloud),
        "DATA": "binary",
    }
    lines = "\n".join(f"{key} {value}" for key, value in header.items()) + "\n"
    return lines.encode("ascii") + points.tobytes()


def _records(
    cloud: PointCloud,
    normals: Sequence[str],
    normal_type: str,
    colors: dict[str, np.ndarray],
    label_type: str,
) -> np.ndarray:
    """Return the points as one structured array with a field per property, in the file's order."""
    position_type = _position_type(cloud.positions)
    columns: dict[str, np.ndarray] = {}
    for axis, values in zip("xyz", cloud.positions.T, strict=True):
        columns[axis] = values.astype(position_type)
    for axis, values in zip(normals, cloud.normals.T, strict=True):
        columns[axis] = values.astype(normal_type)
    columns |= colors
    columns["label"] = cloud.labels.astype(label_type)
    columns["probability"] = cloud.probabilities.astype("<f4")
    records = np.empty(len(cloud), dtype=[(n, v.dtype) for n, v in columns.items()])
    for name, values in columns.items():
        records[name] = values
    return records


def _position_type(positions: np.ndarray) -> str:
    """Return the type for positions: float32, or float64 if that is not precise enough."""
    moved = abs(positions - positions.astype(np.float32)).max(initial=0)
    extent = np.ptp(positions, axis=0).max() if len(positions) else 0.0
    return "<f4" if moved <= _TOLERANCE * extent else "<f8"
