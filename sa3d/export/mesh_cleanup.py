"""Clean-up of meshes: remove cavities and loose parts, smooth, decimate; measure the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_AGGRESSIONS = (5, 3, 1)
"""Aggressiveness of edge collapse, tried in this order; a high value may tear thin parts."""
_MORE_FACES = 1.5
"""Factor on the number of faces for the next attempts, if all of these tear the mesh."""


@dataclass(frozen=True)
class MeshReport:
    """Measures of a mesh, in units of its frame.

    Attributes:
        vertices: number of vertices.
        faces: number of faces.
        watertight: True if every edge has exactly two faces, with opposite directions along it.
        volume: enclosed volume; meaningless if the mesh is not watertight.
        area: of the surface.
        euler: vertices - edges + faces; 2 for each part without handles.
        components: number of connected parts.
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
    """Return the volumes [F] of the tetrahedra of the faces and the first vertex.

    Their sum is the volume of the mesh. A volume is positive if its face looks away from that
    vertex.
    """
    a, b, c = (vertices[faces[:, i]] - vertices[:1] for i in range(3))
    return (a * np.cross(b, c)).sum(axis=1) / 6


def solid_parts(
    vertices: np.ndarray, faces: np.ndarray, seen: np.ndarray, min_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Remove cavities, parts inside others, and parts that cameras saw little of.

    Args:
        vertices: float64 [V, 3].
        faces: int64 [F, 3] of closed surfaces that face outward.
        seen: [P, 3], positions on the object's surface that cameras saw. Each counts for the
            nearest part.
        min_share: parts with less than this share of the positions of the most seen part are
            removed.

    Returns:
        The remaining vertices and faces.
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
    """Remove vertices without faces; return the vertices and the renumbered faces."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3)


def decimated(
    vertices: np.ndarray, faces: np.ndarray, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a mesh to about ``target`` faces, or to as few as possible without tearing it.

    The method is quadric error decimation (Garland and Heckbert 1997).
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
    """Smooth vertices [V, 3] without shrinking the mesh (Taubin 1995)."""
    import trimesh

    mesh = _trimesh(vertices, faces)
    return np.asarray(trimesh.smoothing.filter_taubin(mesh, iterations=2 * iterations).vertices)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return outward unit normals [V, 3]: means over the faces around, weighted by their area."""
    normals = np.zeros_like(vertices)
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for i in range(3):
        np.add.at(normals, faces[:, i], face_normals)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-30)


def _same_shape(lean: tuple[np.ndarray, np.ndarray], full: tuple[np.ndarray, np.ndarray]) -> bool:
    """Return True if a mesh is watertight, with the Euler number and parts of another mesh."""
    new, old = mesh_report(*lean), mesh_report(*full)
    return new.watertight and (new.euler, new.components) == (old.euler, old.components)


def _parts(count: int, faces: np.ndarray) -> np.ndarray:
    """Return the number of the connected part of each of ``count`` vertices, [V]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    row, column = faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1)
    edges = coo_matrix((np.ones(len(row), dtype=bool), (row, column)), shape=(count, count))
    return connected_components(edges, directed=False)[1]


def _is_inside_another(
    one: int, parts: Any, part: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> bool:
    """Return True if the first vertex of a part is inside another part."""
    point = vertices[np.argmax(part == one)]
    return any(
        abs(_winding_number(point, vertices, faces[part[faces[:, 0]] == other])) > 0.5
        for other in parts
        if other != one
    )


def _winding_number(point: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> float:
    """Return the winding number of closed faces around a point (Van Oosterom 1983)."""
    a, b, c = (vertices[faces[:, i]] - point for i in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    above = (a * np.cross(b, c)).sum(axis=1)
    ab, bc, ca = (a * b).sum(axis=1), (b * c).sum(axis=1), (c * a).sum(axis=1)
    below = la * lb * lc + ab * lc + bc * la + ca * lb
    return float(np.arctan2(above, below).sum() / (2 * np.pi))


def _trimesh(vertices: np.ndarray, faces: np.ndarray) -> Any:
    import trimesh

    return trimesh.Trimesh(vertices, faces, process=False)
