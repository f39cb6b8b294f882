"""Texture atlases: unfold a mesh into an image, and find the surface point of each texel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sa3d.base.narrowing import narrowed

_PADDING = 4
"""Texels between charts; the colors of the charts are continued into this gap."""
_FILL = 0.5
"""Share of the image that charts are expected to cover."""
_CANDIDATES = 1 << 22
"""Number of texels tested together; limits memory."""


@dataclass(frozen=True)
class Atlas:
    """A mesh unfolded into charts.

    Attributes:
        uv: float64 [T, 2] in [0, 1]; v runs upward: (0, 0) is the lower left corner of the image.
        faces: int64 [F, 3] into ``uv``, in the order of the mesh's faces.
        size: (height, width) of the image in texels.
    """

    uv: np.ndarray
    faces: np.ndarray
    size: tuple[int, int]

    @property
    def corners_px(self) -> np.ndarray:
        """The faces in the image, float64 [F, 3, 2], in texels: x to the right, y downward."""
        height, width = self.size
        flipped = self.uv * [1, -1] + [0, 1]
        return (flipped * [width, height])[self.faces]


@dataclass(frozen=True)
class Texels:
    """The T texels that faces cover.

    Attributes:
        index: int64 [T], position in the image, counted row by row.
        face: int64 [T], the face that each texel shows.
        share: float64 [T, 3], barycentric coordinates of the texel's center in the face.
    """

    index: np.ndarray
    face: np.ndarray
    share: np.ndarray

    def interpolated(self, faces: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Interpolate vertex values [V, C] of a mesh with faces [F, 3] at the texels: [T, C]."""
        corners = values[faces[self.face]]
        return (corners * self.share[..., None]).sum(axis=1)


def unfolded(vertices: np.ndarray, faces: np.ndarray, size: int) -> Atlas:
    """Cut a mesh into charts with xatlas, packed into about ``size`` x ``size`` texels."""
    import xatlas

    corners = vertices[faces]
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(sides, axis=1).sum() / 2

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), narrowed(faces, np.uint32, "lower 'mesh.faces'"))
    options = xatlas.PackOptions()
    options.texels_per_unit = size * float(np.sqrt(_FILL / area))
    options.padding = _PADDING
    atlas.generate(pack_options=options)
    _, indices, uv = atlas[0]
    return Atlas(uv.astype(np.float64), indices.astype(np.int64), (atlas.height, atlas.width))


def covered_texels(atlas: Atlas) -> Texels:
    """Return the texels whose center is on a face."""
    height, width = atlas.size
    parts = list(_covered(atlas.corners_px, width, height))
    index, face, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    _, first = np.unique(index, return_index=True)  # a center on an edge belongs to one face
    return Texels(index[first], face[first], share[first])


def painted(size: tuple[int, int], index: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Paint an image, uint8 [H, W, 3], with colors [T, 3] at texels [T], continued elsewhere."""
    from scipy.ndimage import distance_transform_edt

    image = np.zeros((*size, 3), np.uint8)
    empty = np.ones(size, dtype=bool)
    image.reshape(-1, 3)[index] = colors
    empty.reshape(-1)[index] = False
    nearest: Any = distance_transform_edt(empty, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _covered(
    corners: np.ndarray, width: int, height: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield texel indices, faces and barycentric coordinates, for some of the faces at a time."""
    low = np.floor(corners.min(axis=1) - 0.5).astype(np.int64).clip(0)
    high = np.ceil(corners.max(axis=1) + 0.5).astype(np.int64).clip(None, [width, height])
    span = (high - low).clip(0)
    count = span.prod(axis=1)
    groups = np.flatnonzero(np.diff(np.cumsum(count) // _CANDIDATES, prepend=0)).tolist()
    for start, stop in zip([0, *groups], [*groups, len(count)], strict=True):
        face = np.repeat(np.arange(start, stop), count[start:stop])
        first = np.repeat(np.cumsum(count[start:stop]) - count[start:stop], count[start:stop])
        row, column = np.divmod(np.arange(len(face)) - first, span[face, 0].clip(1))
        x, y = low[face, 0] + column, low[face, 1] + row
        share = _barycentric(corners[face], np.stack([x, y], axis=1) + 0.5)
        inside = (share >= 0).all(axis=1)
        yield (y * width + x)[inside], face[inside], share[inside]


def _barycentric(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return barycentric coordinates [N, 3] of points [N, 2] in triangles [N, 3, 2].

    They are negative for degenerate triangles.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = _cross(b - a, c - a)
    safe = np.where(area == 0, 1, area)
    v = np.where(area == 0, -1, _cross(points - a, c - a) / safe)
    w = _cross(b - a, points - a) / safe
    return np.stack([1 - v - w, v, w], axis=1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
