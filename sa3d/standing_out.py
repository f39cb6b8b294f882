"""What stands out in a scene by its geometry alone: clusters of surface on no large plane.

A table, a floor or a wall is a large plane that no camera looks at from behind. What lies on such a
plane or behind it is support or background; what remains in front of it falls apart into clusters
of surface that touch nowhere: candidates for objects, the same ones in every view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.scene import Scene

_CELLS = 1 << 20
"""Cells along each side of the lattice clusters are found on; what lies outside is left out."""


@dataclass
class StandingOutConfig:
    """How clusters of surface are found; lengths are in pixel footprints (at operator resolution,
    the side of a pixel at the scene's median depth)."""

    plane_share: float = 0.1
    """A plane is support or background if this share of all surface pixels lies on it."""
    plane_thickness: float = 2.0
    """Surface nearer to a plane than this, in footprints, lies on it."""
    max_planes: int = 4
    """Planes looked for, at most."""
    cell: float = 1.5
    """Surface further apart than about this, in footprints, is not connected."""
    min_views: int = 3
    """Surface seen in fewer views is noise."""
    max_step: float = 6.0
    """Neighbouring pixels whose surfaces are further apart than this, in their own footprints,
    lie at an edge: their depth is between things and is not used."""


@dataclass(frozen=True)
class Plane:
    """Points with ``normal @ x == offset``; the cameras are where it is greater."""

    normal: Tensor
    offset: float

    def height(self, points: Tensor) -> Tensor:
        """Signed distance [...] of points [..., 3], world units."""
        return points @ self.normal - self.offset


@dataclass(frozen=True)
class StandingOut:
    """Planes, and per view the cluster seen in each pixel, int64 [h, w], -1 for none.

    Clusters are numbered from 0 by falling number of pixels, the same in all views. What is less
    than ``thickness`` (world units) in front of a plane lies on it.
    """

    planes: list[Plane]
    thickness: float
    clusters: list[Tensor]


def find_standing_out(scene: Scene, config: StandingOutConfig) -> StandingOut:
    """Planes and clusters of a prepared scene."""
    views = [scene.prepared(index) for index in range(len(scene.views))]
    points = [view.points_world.cpu().reshape(-1, 3) for view in views]
    footprint = float(
        np.median([float(view.render.depth.median()) / view.camera.fx for view in views])
    )
    firm = [_firm(scene, index, config.max_step) for index in range(len(views))]
    everything = torch.cat(points)
    solid = torch.cat(firm)
    cameras = torch.stack([view.camera.position.float().cpu() for view in views])
    planes = find_planes(everything[solid], cameras, config, footprint)
    thickness = config.plane_thickness * footprint
    for plane in planes:
        solid &= plane.height(everything) > thickness
    view_ids = torch.cat([torch.full((len(p),), i) for i, p in enumerate(points)])
    labels = cluster_points(
        everything, solid, view_ids, config.cell * footprint, config.min_views
    )
    shapes = [(view.camera.height, view.camera.width) for view in views]
    split = labels.split([len(p) for p in points])
    return StandingOut(
        planes, thickness, [part.reshape(s) for part, s in zip(split, shapes, strict=True)]
    )


def find_planes(
    points: Tensor, cameras: Tensor, config: StandingOutConfig, footprint: float
) -> list[Plane]:
    """Large planes with all cameras on one side, the largest first (RANSAC; deterministic).

    Args:
        points: [N, 3] surface points; each counts the same.
        cameras: [V, 3] positions.
        footprint: the unit of the configured lengths, world units.
    """
    random = torch.Generator().manual_seed(0)
    near = config.plane_thickness * footprint
    sample = points[torch.randint(0, max(len(points), 1), (8000,), generator=random)]
    total = len(sample)
    planes: list[Plane] = []
    for _ in range(config.max_planes):
        if len(sample) < 3:
            break
        triples = sample[torch.randint(0, len(sample), (600, 3), generator=random)]
        normals = torch.linalg.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
        normals = torch.nn.functional.normalize(normals, dim=-1)
        offsets = (normals * triples[:, 0]).sum(dim=-1)
        on = ((sample @ normals.T - offsets).abs() < near).sum(dim=0)
        best = int(on.argmax())
        plane = _refined(sample, Plane(normals[best], float(offsets[best])), near)
        if float((plane.height(sample).abs() < near).sum()) / total < config.plane_share:
            break
        front = float((plane.height(cameras) > 0).float().mean())
        if front < 0.5:
            plane, front = Plane(-plane.normal, -plane.offset), 1 - front
        behind = plane.height(sample) < near
        if front < 0.95:  # seen from both sides: no support of anything
            behind = plane.height(sample).abs() < near
        else:
            planes.append(plane)
        sample = sample[~behind]
    return planes


def cluster_points(
    points: Tensor, solid: Tensor, view_ids: Tensor, cell: float, min_views: int
) -> Tensor:
    """Connected clusters of surface points.

    Args:
        points: [N, 3], world units.
        solid: [N] bool, the points to cluster.
        view_ids: int64 [N], the view each point is seen in.
        cell: side of the lattice's cells; clusters are cells that touch, at corners too.
        min_views: cells with points of fewer views are left out.

    Returns:
        int64 [N], numbered by falling number of points; -1 for points of no cluster.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    labels = torch.full((len(points),), -1)
    cells = torch.floor(points / cell)
    solid = solid & (cells.abs() < _CELLS // 2 - 1).all(dim=-1)
    if not solid.any():
        return labels
    x, y, z = (cells[solid].long() + _CELLS // 2).unbind(dim=-1)
    keys, slot = torch.unique((x * _CELLS + y) * _CELLS + z, return_inverse=True)
    seen = torch.unique(slot * (int(view_ids.max()) + 1) + view_ids[solid])
    views = torch.bincount(seen // (int(view_ids.max()) + 1), minlength=len(keys))
    kept = views >= min_views
    if not kept.any():
        return labels
    kept_keys = keys[kept]
    steps = (-1, 0, 1)
    offsets = [(a * _CELLS + b) * _CELLS + c for a in steps for b in steps for c in steps]
    pairs = []
    for offset in offsets:
        if offset > 0:
            there = torch.searchsorted(kept_keys, kept_keys + offset).clamp_max(len(kept_keys) - 1)
            touch = kept_keys[there] == kept_keys + offset
            pairs.append(torch.stack([torch.nonzero(touch)[:, 0], there[touch]]))
    rows, columns = torch.cat(pairs, dim=1).numpy()
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(kept_keys),) * 2)
    _, component = connected_components(graph, directed=False)
    of_key = torch.full((len(keys),), -1)
    of_key[kept] = torch.from_numpy(component).long()
    found = of_key[slot]
    sizes = torch.bincount(found[found >= 0])
    rank = torch.empty_like(sizes)
    rank[sizes.argsort(descending=True, stable=True)] = torch.arange(len(sizes))
    labels[solid] = torch.where(found >= 0, rank[found.clamp_min(0)], -1)
    return labels


def _refined(points: Tensor, plane: Plane, near: float) -> Plane:
    """The least-squares plane through the points near a plane, three times over."""
    for _ in range(3):
        inliers = points[plane.height(points).abs() < near]
        if len(inliers) < 3:
            return plane
        centre = inliers.mean(dim=0)
        spread = (inliers - centre).T @ (inliers - centre)
        normal = torch.linalg.eigh(spread).eigenvectors[:, 0]
        plane = Plane(normal, float(normal @ centre))
    return plane


def _firm(scene: Scene, index: int, max_step: float) -> Tensor:
    """Pixels [R] bool that see a surface, and not the gap between two."""
    view = scene.prepared(index)
    firm = view.render.accumulation.cpu() > 0.5
    points, footprint = view.points_world.cpu(), view.render.depth.cpu() / view.camera.fx
    across = points.diff(dim=1).norm(dim=-1) > max_step * footprint[:, 1:]
    down = points.diff(dim=0).norm(dim=-1) > max_step * footprint[1:]
    firm[:, 1:] &= ~across
    firm[:, :-1] &= ~across
    firm[1:] &= ~down
    firm[:-1] &= ~down
    return firm.reshape(-1)
