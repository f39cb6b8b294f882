"""Unfolding a mesh into a picture, and what each of its texels shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_PADDING = 4
"""Texels between charts; their colors are continued over it."""
_FILL = 0.5
"""Share of the picture that charts can be expected to cover."""
_CANDIDATES = 1 << 22
"""Texels looked at together; bounds memory."""


@dataclass(frozen=True)
class Atlas:
    """A mesh unfolded into charts.

    Attributes:
        uv: float64 [T, 2] in [0, 1]; v runs upward: (0, 0) is the picture's lower left corner.
        faces: int64 [F, 3] into ``uv``, in the order of the mesh's faces.
        size: (height, width) of the picture in texels.
    """

    uv: np.ndarray
    faces: np.ndarray
    size: tuple[int, int]

    @property
    def corners_px(self) -> np.ndarray:
        """The faces in the picture, float64 [F, 3, 2]: x to the right, y downward, in texels."""
        height, width = self.size
        flipped = self.uv * [1, -1] + [0, 1]
        return (flipped * [width, height])[self.faces]


@dataclass(frozen=True)
class Texels:
    """The T texels some face covers.

    Attributes:
        index: int64 [T], of the picture row by row.
        face: int64 [T], the face each shows.
        share: float64 [T, 3], of the face's corners in the texel's centre.
    """

    index: np.ndarray
    face: np.ndarray
    share: np.ndarray

    def interpolated(self, faces: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Vertex values [V, C] of a mesh with faces [F, 3] at the texels, [T, C]."""
        corners = values[faces[self.face]]
        return (corners * self.share[..., None]).sum(axis=1)


def unfolded(vertices: np.ndarray, faces: np.ndarray, size: int) -> Atlas:
    """Cut a mesh into charts by xatlas, packed into about ``size`` x ``size`` texels."""
    import xatlas

    corners = vertices[faces]
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(sides, axis=1).sum() / 2

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.texels_per_unit = size * float(np.sqrt(_FILL / area))
    options.padding = _PADDING
    atlas.generate(pack_options=options)
    _, indices, uv = atlas[0]
    return Atlas(uv.astype(np.float64), indices.astype(np.int64), (atlas.height, atlas.width))


def covered_texels(atlas: Atlas) -> Texels:
    """The texels whose centre lies on a face."""
    height, width = atlas.size
    parts = list(_covered(atlas.corners_px, width, height))
    index, face, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    _, first = np.unique(index, return_index=True)  # a centre on an edge shows one face
    return Texels(index[first], face[first], share[first])


def painted(size: tuple[int, int], index: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """A picture uint8 [H, W, 3] with colors [T, 3] at texels [T], continued over the rest."""
    from scipy.ndimage import distance_transform_edt

    picture = np.zeros((*size, 3), np.uint8)
    empty = np.ones(size, dtype=bool)
    picture.reshape(-1, 3)[index] = colors
    empty.reshape(-1)[index] = False
    nearest: Any = distance_transform_edt(empty, return_distances=False, return_indices=True)
    return picture[tuple(nearest)]


def _covered(
    corners: np.ndarray, width: int, height: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Texel index, face and shares of the corners, for some faces [F, 3, 2] at a time."""
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
    """Shares [N, 3] of triangles' corners [N, 3, 2] in points [N, 2]; negative if degenerate."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = _cross(b - a, c - a)
    safe = np.where(area == 0, 1, area)
    v = np.where(area == 0, -1, _cross(points - a, c - a) / safe)
    w = _cross(b - a, points - a) / safe
    return np.stack([1 - v - w, v, w], axis=1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
