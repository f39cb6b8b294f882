"""How full space is with an object: the NeRF's density where the object is probable."""

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
"""Density of the surface as a share of the usual density where depth maps put it: a ray that is
half absorbed has already gone some way through the skin."""
_MOST_POINTS = 1 << 14
"""Seen points that are asked for their density."""
_NEARBY = 32
"""Seen points that tell what is usual nearby: a NeRF is thin where it saw little. The mean in
logarithm with what is usual for the object decides, lest fog passes for a surface."""
_RAMP = -math.log(_SURFACE)
"""Occupancy goes from 0.5 to 1 while density rises to the usual one by this many e-folds, and as
fast to 0: it falls off exponentially in front of surfaces, and marching cubes is linear."""
_HIDDEN = 0.25
"""Voxels behind what every camera sees from which space counts as inside."""
_SEEN = 0.1
"""Voxels with less than this share of the pixels that usually show one do not shape that hull."""
_WANTED = 0.25
"""Share below which density is not asked for."""


@dataclass(frozen=True)
class Occupancy:
    """Occupancy in [0, 1] of an object at the points of a lattice; its surface is at 0.5.

    ``min(share, max(f(density), hidden))``, averaged over neighbouring lattice points, where ``f``
    is 0.5 at the surface's density: full where the object is probable and the NeRF is dense, or
    where no camera sees.

    Attributes:
        field: the NeRF.
        share: the object's block.
        hidden: the block, with how surely each voxel lies behind the surface in place of the share.
        log_level: the block, with the logarithm of the surface's density in place of the share.
        per_voxel: lattice points along the side of a voxel.
    """

    field: RadianceField
    share: ObjectVolume
    hidden: ObjectVolume
    log_level: ObjectVolume
    per_voxel: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lattice points along each axis of the object's block."""
        x, y, z = (math.ceil(side * self.per_voxel) for side in self.share.share.shape)
        return x, y, z

    def sample(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Occupancy float32 [X, Y, Z] at lattice points ``low`` to ``high`` (exclusive)."""
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
        """Positions [..., 3], float64, of lattice coordinates [..., 3]."""
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
    """The occupancy of an object.

    A NeRF leaves the inside of things undefined, and evidence there is chance: what lies behind
    everything all cameras see counts as inside, up to the convex hull of what is seen. So a bottom
    nobody sees is flat.

    Args:
        points: seen of the object.
        per_voxel: see ``Occupancy``.
        level: density of the surface, per world unit; by default a share of that at
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
    """Logarithm of the surface's density for every voxel of the block, [X, Y, Z]."""
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
    """How far points [N, 3] lie behind what cameras see, at least, [N]; infinite if none looks."""
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
    """Distance [N] of positions [N, 3] from the convex hull of what is seen, negative inside.

    Args:
        keys: voxels [P] of the points; those few pixels show are left out.
    """
    from scipy.spatial import ConvexHull, QhullError

    _, voxel, count = torch.unique(keys, return_inverse=True, return_counts=True)
    often = count[voxel] >= _SEEN * count[voxel].float().median()
    sure = points.positions[often.cpu()].double().numpy()
    try:
        equations = torch.from_numpy(ConvexHull(sure).equations).to(positions)
    except (QhullError, ValueError):  # too few points, or all in a plane
        return torch.full_like(positions[:, 0], -torch.inf)
    distances = [(part @ equations[:, :3].T).add_(equations[:, 3]).amax(-1)
                 for part in positions.split(1 << 14)]  # fmt: skip
    return torch.cat(distances) if distances else positions[:, 0]
