"""Occupancy of an object on a lattice: the density of the field where the object is probable."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sa3d.export.surface import SurfacePoints
from sa3d.fields.radiance_field import RadianceField
from sa3d.results.object_volume import ObjectVolume, cell_size
from sa3d.scene.scene import Scene

_SURFACE = 0.2
"""Density at the surface as a share of the usual density at the depth maps' points. These lie below
the surface, where a ray is half absorbed."""
_MOST_POINTS = 1 << 14
"""Number of seen points at which the density is evaluated, at most."""
_NEARBY = 32
"""Number of nearest seen points that give the usual density nearby: a NeRF is less dense where few
cameras looked. Its geometric mean with the usual density of the object is used, so that fog does
not count as surface."""
_RAMP = -math.log(_SURFACE)
"""Occupancy rises from 0.5 to 1 over this many e-folds of density, and falls to 0 over as many:
density falls off exponentially in front of surfaces, but marching cubes interpolates linearly."""
_HIDDEN = 0.25
"""Space this many voxels behind the surface for every camera counts as inside."""
_SEEN = 0.1
"""Voxels seen by less than this share of the usual number of pixels are left out of the hull."""
_WANTED = 0.25
"""The density is not evaluated where the object share is below this."""


@dataclass(frozen=True)
class Occupancy:
    """The occupancy of an object in [0, 1] on a lattice; the surface is at 0.5.

    The occupancy is ``min(share, max(f(density), hidden))``, averaged over neighbouring lattice
    points, where ``f`` is 0.5 at the density of the surface. So space is occupied where the object
    is probable, and where also the field is dense or no camera sees.

    Attributes:
        field: the radiance field.
        share: the object's volume.
        hidden: the same volume; its ``share`` is the certainty that a voxel is behind the surface.
        log_level: the same volume; its ``share`` is the logarithm of the surface's density.
        per_voxel: lattice points along the side of a voxel.
    """

    field: RadianceField
    share: ObjectVolume
    hidden: ObjectVolume
    log_level: ObjectVolume
    per_voxel: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of lattice points along each axis of the object's block."""
        x, y, z = (math.ceil(side * self.per_voxel) for side in self.share.share.shape)
        return x, y, z

    def sample(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return the occupancy, float32 [X, Y, Z], at lattice points ``low`` to below ``high``."""
        ranges = [np.arange(a - 1, b + 1) for a, b in zip(low, high, strict=True)]
        lattice = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1)
        world = self.to_world(lattice.astype(np.float64)).float().to(self.share.share.device)
        share = self.share.share_at(world)
        full = self.hidden.share_at(world)
        wanted = (share > _WANTED) & (full < share)
        if wanted.any():
            density = self.field.density(world[wanted]).to(share)
            folds = density.clamp_min(1e-9).log() - self.log_level.share_at(world[wanted])
            dense = 0.5 + 0.5 * (folds / _RAMP).clamp(-1, 1)
            full[wanted] = torch.maximum(full[wanted], dense)
        occupied = torch.minimum(share, full)[None, None]
        return functional.avg_pool3d(occupied, 3, stride=1)[0, 0].cpu().numpy()

    def to_world(self, lattice: np.ndarray) -> Tensor:
        """Return the world positions, float64 [..., 3], of lattice coordinates [..., 3]."""
        voxels = (torch.from_numpy(lattice) + 0.5) / self.per_voxel + self.share.corner.cpu()
        return self.share.grid.bounds.to_world(voxels / self.share.grid.resolution)


def occupancy(
    scene: Scene,
    volume: ObjectVolume,
    points: SurfacePoints,
    *,
    per_voxel: float,
    level: float | None = None,
) -> Occupancy:
    """Compute the occupancy of an object.

    The density of a NeRF inside of things is undefined, and evidence there is random. So space that
    is behind the surface for all cameras counts as inside, up to the convex hull of the seen
    points. Therefore an unseen bottom is flat.

    Args:
        scene: prepared.
        volume: of the object.
        points: surface points of the object.
        per_voxel: lattice points along the side of a voxel.
        level: density at the surface, per world unit; by default a share of the density at
            ``points``.
    """
    grid = scene.grid
    cells = torch.nonzero(volume.share > _WANTED)
    unit = (cells.to(torch.float32) + volume.corner + 0.5) / grid.resolution
    centers, voxel = grid.bounds.to_world(unit), cell_size(grid, unit)
    x, y, z = cells.unbind(dim=-1)
    behind = (0.5 + _depth_behind(scene, centers) / voxel - _HIDDEN).clamp(0, 1)
    hidden = volume.dark.to(volume.share)
    hidden[x, y, z] = torch.maximum(hidden[x, y, z], behind)
    around = functional.avg_pool3d(volume.share[None, None], 3, stride=1, padding=1)[0, 0]
    share = torch.where(hidden > 0.5, around, volume.share)
    beyond = _beyond_hull(centers, points, grid.keys(points.positions)) / voxel
    possible = torch.maximum((0.5 - 0.5 * beyond).clamp(0, 1), 1 - hidden[x, y, z])
    share[x, y, z] = torch.minimum(share[x, y, z], possible)
    return Occupancy(
        scene.field,
        replace(volume, share=share),
        replace(volume, share=hidden),
        replace(volume, share=_log_levels(scene, volume, points, level)),
        per_voxel,
    )


def _log_levels(
    scene: Scene, volume: ObjectVolume, points: SurfacePoints, level: float | None
) -> Tensor:
    """Return the logarithm of the surface's density for every voxel of the block, [X, Y, Z]."""
    from scipy.spatial import KDTree

    if level is not None:
        return torch.full_like(volume.share, math.log(max(level, 1e-6)))
    some = slice(None, None, 1 + len(points) // _MOST_POINTS)
    density = scene.field.density(points.positions[some]).cpu()
    cells = torch.nonzero(torch.ones_like(volume.share))
    centers = scene.grid.bounds.to_world((cells + volume.corner + 0.5) / scene.grid.resolution)
    tree = KDTree(points.positions[some].numpy())
    _, nearest = tree.query(centers.cpu().numpy(), k=min(_NEARBY, tree.n))
    local = density[torch.from_numpy(nearest).reshape(len(centers), -1)].median(dim=-1).values
    usual = _SURFACE * (local * density.median()).sqrt()
    return usual.clamp_min(1e-6).log().reshape(volume.share.shape).to(volume.share)


def _depth_behind(scene: Scene, points: Tensor) -> Tensor:
    """Return the least depth [N] of points [N, 3] behind the visible surface; inf if unseen."""
    least = torch.full_like(points[:, 0], torch.inf)
    for index in range(len(scene.views)):
        prepared = scene.prepared(index)
        camera, render = prepared.camera, prepared.render
        surface = torch.where(render.accumulation < 0.5, torch.inf, render.depth)
        pixels, z = camera.project(points)
        x, y = pixels.floor().long().unbind(dim=-1)
        visible = (z > 0) & (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        distance = (points[visible] - camera.position.to(points)).norm(dim=-1)
        behind = distance - surface[y[visible].cpu(), x[visible].cpu()].to(points)
        least[visible] = torch.minimum(least[visible], behind)
    return least


def _beyond_hull(positions: Tensor, points: SurfacePoints, keys: Tensor) -> Tensor:
    """Return the distance [N] of positions [N, 3] to the convex hull of points; negative inside.

    Args:
        positions: world frame.
        points: surface points; those in voxels that few pixels show are left out.
        keys: [P], voxels of the points.
    """
    from scipy.spatial import ConvexHull, QhullError

    _, voxel, count = torch.unique(keys, return_inverse=True, return_counts=True)
    often = count[voxel] >= _SEEN * count[voxel].float().median()
    sure = points.positions[often.cpu()].double().numpy()
    try:
        equations = torch.from_numpy(ConvexHull(sure).equations).to(positions)
    except (QhullError, ValueError):  # there are too few points, or all lie in a plane
        return torch.full_like(positions[:, 0], -torch.inf)
    distances = [(part @ equations[:, :3].T).add_(equations[:, 3]).amax(-1)
                 for part in positions.split(1 << 14)]  # fmt: skip
    return torch.cat(distances) if distances else positions[:, 0]
