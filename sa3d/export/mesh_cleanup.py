"""Meshes made one solid: no cavities, no floaters, fewer faces; and what a mesh measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_AGGRESSIONS = (5, 3, 1)
"""How greedily edges are collapsed, tried in turn: a greedy collapse may tear a thin part."""
_MORE_FACES = 1.5
"""If every attempt tears the mesh, this many times the faces are kept, and so on."""


@dataclass(frozen=True)
class MeshReport:
    """What a mesh is. Lengths are in units of the frame it is in.

    Attributes:
        vertices, faces: how many.
        watertight: every edge has exactly two faces, which run along it in opposite directions.
        volume: enclosed; of no meaning if the mesh is not watertight.
        area: of the surface.
        euler: vertices - edges + faces, 2 for each part without handles.
        components: parts that hang together.
    """

    vertices: int
    faces: int
    watertight: bool
    volume: float
    area: float
    euler: int
    components: int


def mesh_report(vertices: np.ndarray, faces: np.ndarray) -> MeshReport:
    """Measure a mesh: vertices [V, 3], faces [F, 3]."""
    solid = _trimesh(vertices, faces)
    return MeshReport(
        vertices=len(vertices),
        faces=len(faces),
        watertight=bool(solid.is_watertight and solid.is_winding_consistent),
        volume=float(signed_volumes(vertices, faces).sum()),
        area=float(solid.area),
        euler=int(solid.euler_number),
        components=len(np.unique(_parts(len(vertices), faces)[faces[:, 0]])),
    )


def signed_volumes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Volume [F] of the tetrahedron each face spans with the first vertex; their sum is the mesh's.

    Positive if the face is seen from outside.
    """
    a, b, c = (vertices[faces[:, i]] - vertices[:1] for i in range(3))
    return (a * np.cross(b, c)).sum(axis=1) / 6


def solid_parts(
    vertices: np.ndarray, faces: np.ndarray, seen: np.ndarray, min_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The mesh without cavities, parts inside others, and parts of which little is seen.

    Args:
        vertices: float64 [V, 3].
        faces: int64 [F, 3] of closed surfaces that face outward.
        seen: positions [P, 3] on the object's surface that cameras saw.
        min_share: parts with less than this share of the positions the most seen part has, each
            position counted for the nearest part, are left out.

    Returns:
        vertices and faces that are left.
    """
    from scipy.spatial import KDTree

    part = _parts(len(vertices), faces)
    volumes = np.bincount(part[faces[:, 0]], signed_volumes(vertices, faces), part.max() + 1)
    hull = np.flatnonzero(volumes > 0)
    outer = np.isin(part, hull)
    _, nearest = KDTree(vertices[outer]).query(seen)
    count = np.bincount(part[outer][nearest], minlength=len(volumes))
    kept = hull[count[hull] >= min_share * count.max()]
    kept = [one for one in kept if not _is_inside_another(one, kept, part, vertices, faces)]
    return compact(vertices, faces[np.isin(part[faces[:, 0]], kept)])


def compact(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that some face uses, and the faces numbered anew."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3)


def decimated(
    vertices: np.ndarray, faces: np.ndarray, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """About ``target`` faces, or as few as possible without tearing a watertight mesh.

    Quadric error decimation (Garland and Heckbert 1997).
    """
    import fast_simplification

    was_watertight = mesh_report(vertices, faces).watertight
    while target < len(faces):
        for aggression in _AGGRESSIONS:
            fewer = fast_simplification.simplify(
                vertices, faces, target_count=target, agg=aggression
            )
            lean = compact(np.asarray(fewer[0], float), np.asarray(fewer[1], np.int64))
            if not was_watertight or _same_shape(lean, (vertices, faces)):
                return lean
        target = int(target * _MORE_FACES)
    return vertices, faces


def smoothed(vertices: np.ndarray, faces: np.ndarray, iterations: int) -> np.ndarray:
    """Vertices [V, 3] smoothed without shrinking (Taubin 1995)."""
    import trimesh

    mesh = _trimesh(vertices, faces)
    return np.asarray(trimesh.smoothing.filter_taubin(mesh, iterations=2 * iterations).vertices)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3], pointing outward: means of the adjoining faces', weighted by area."""
    normals = np.zeros_like(vertices)
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for i in range(3):
        np.add.at(normals, faces[:, i], face_normals)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-30)


def _same_shape(lean: tuple[np.ndarray, np.ndarray], full: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether a mesh is watertight and has the Euler number and parts of another."""
    new, old = mesh_report(*lean), mesh_report(*full)
    return new.watertight and (new.euler, new.components) == (old.euler, old.components)


def _parts(count: int, faces: np.ndarray) -> np.ndarray:
    """Number of the connected part each of ``count`` vertices belongs to, [V]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    row, column = faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1)
    edges = coo_matrix((np.ones(len(row), dtype=bool), (row, column)), shape=(count, count))
    return connected_components(edges, directed=False)[1]


def _is_inside_another(
    one: int, parts: Any, part: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> bool:
    """Whether a part's first vertex lies inside another part: its faces wind around the vertex."""
    point = vertices[np.argmax(part == one)]
    return any(
        abs(_winding_number(point, vertices, faces[part[faces[:, 0]] == other])) > 0.5
        for other in parts
        if other != one
    )


def _winding_number(point: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> float:
    """How often closed faces go round a point: the solid angle of each (Van Oosterom 1983)."""
    a, b, c = (vertices[faces[:, i]] - point for i in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    above = (a * np.cross(b, c)).sum(axis=1)
    ab, bc, ca = (a * b).sum(axis=1), (b * c).sum(axis=1), (c * a).sum(axis=1)
    below = la * lb * lc + ab * lc + bc * la + ca * lb
    return float(np.arctan2(above, below).sum() / (2 * np.pi))


def _trimesh(vertices: np.ndarray, faces: np.ndarray) -> Any:
    import trimesh

    return trimesh.Trimesh(vertices, faces, process=False)
