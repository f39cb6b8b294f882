"""What stands out in a scene by its geometry alone: clusters of surface on no large plane.

A table, a floor or a wall is a large plane that no camera looks at from behind. What lies on such a
plane or behind it is support or background; what remains in front of it falls apart into clusters
of surface that touch nowhere: candidates for objects, the same ones in every view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.scene.scene import PreparedView, Scene
from sa3d.surfaces.cluster_growth import grow_clusters
from sa3d.surfaces.config import StandingOutConfig
from sa3d.surfaces.touching import Lattice, Surface, build_lattice, clusters


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
    everything = torch.cat(points)
    firm = torch.cat([_firm(scene, index, config.max_step) for index in range(len(views))])
    cameras = torch.stack([view.camera.position.float().cpu() for view in views])
    planes = find_planes(everything[firm], cameras, config, footprint)
    thickness = config.plane_thickness * footprint
    inner = in_many_frames(scene, everything) >= config.min_frames
    solid, above = firm & inner, inner.clone()
    for plane in planes:
        height = plane.height(everything)
        solid &= height > thickness
        above &= height > -thickness
    view_ids = torch.cat([torch.full((len(p),), i) for i, p in enumerate(points)])
    cell = config.cell * footprint
    lattice = build_lattice(everything, solid, view_ids, cell, config.min_views)
    surface = _surface(lattice, views, everything, planes, cell, thickness)
    labels = _by_size(clusters(lattice, surface), lattice.of_point)

    def per_view(values: Tensor) -> list[Tensor]:
        shapes = [(view.camera.height, view.camera.width) for view in views]
        parts = values.split([len(p) for p in points])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    doubtful = (above | ~firm) & (labels < 0)
    colors = [view.render.rgb.cpu() for view in views]
    grown = grow_clusters(per_view(labels), colors, per_view(doubtful))
    return StandingOut(planes, thickness, grown)


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


def in_many_frames(scene: Scene, points: Tensor) -> Tensor:
    """Share of the views in whose frame points [N, 3] lie, hidden or not: [N]."""
    inside = torch.zeros(len(points))
    for view in scene.views:
        inside += view.camera.frames(points)
    return inside / len(scene.views)


def _surface(
    lattice: Lattice,
    views: Sequence[PreparedView],
    points: Tensor,
    planes: Sequence[Plane],
    cell: float,
    thickness: float,
) -> Surface:
    """What the views tell about a lattice's cells; the support is the plane most cells are near."""
    positions = lattice.mean(points)
    near = [plane.height(positions) < thickness + 3 * cell for plane in planes]
    heights, columns = torch.zeros(lattice.size), torch.arange(lattice.size)
    grounded = torch.stack(near).any(dim=0) if near else torch.ones(lattice.size, dtype=torch.bool)
    if near:
        support = planes[int(torch.stack(near).sum(dim=1).argmax())]
        heights = support.height(positions)
        flat = torch.floor((positions - heights[:, None] * support.normal) / (2 * cell))
        columns = torch.unique(flat, dim=0, return_inverse=True)[1]
    return Surface(
        positions=positions,
        normals=lattice.mean(torch.cat([_normals(view) for view in views])),
        colors=lattice.mean(torch.cat([view.render.rgb.cpu().reshape(-1, 3) for view in views])),
        heights=heights,
        columns=columns,
        grounded=grounded,
    )


def _by_size(of_cell: Tensor, of_point: Tensor) -> Tensor:
    """Cluster of each point, numbered by falling number of points; -1 where there is none."""
    if not len(of_cell):
        return of_point
    found = torch.where(of_point >= 0, of_cell[of_point.clamp_min(0)], -1)
    order = torch.bincount(found[found >= 0]).argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return torch.where(found >= 0, rank[found.clamp_min(0)], -1)


def _normals(view: PreparedView) -> Tensor:
    """Surface normals [R, 3] towards the camera; zero at the frame's border."""
    points = view.points_world.cpu()
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    normals = torch.nn.functional.normalize(torch.linalg.cross(across, down), dim=-1)
    towards = view.camera.position.float().cpu() - points[1:-1, 1:-1]
    normals = normals * (normals * towards).sum(dim=-1, keepdim=True).sign()
    return torch.nn.functional.pad(normals, (0, 0, 1, 1, 1, 1)).reshape(-1, 3)


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
