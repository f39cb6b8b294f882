"""The solid volume of an object in voxels: lit surface, dark inside, and a thin halo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sa3d.base.errors import SA3DError
from sa3d.base.sums import ordered_sum
from sa3d.objects.segmentation import BACKGROUND, Segmentation
from sa3d.scene.elements import MaskGrid
from sa3d.scene.scene import Scene
from sa3d.scene.view_operator import ViewRender

_MARGIN = 4
"""Width of the margin around the object's box, in voxels."""
_HALO = 2
"""Width, in voxels, of the layer outside the lit voxels that takes their mean share."""

_LIGHT = 0.95
"""Share of the object's evidence in its main elements; the faintest rest counts as haze."""
_BRIDGE = 1
"""Voxels this far apart or nearer, along each axis, are connected."""
_MIN_PART = 0.02
"""Parts with less than this share of the evidence of the strongest part are left out."""
_CLOSING = 0.4
"""An unseen voxel joins the halo if more than this share of its 27 neighbours is known."""


@dataclass(frozen=True)
class ObjectVolume:
    """The object share of every voxel in a block around the object.

    Elements exist on surfaces only, where rays are absorbed. To cut an object out, its inside is
    needed as well, and the haze in front of its surface that the operators left out.

    Attributes:
        grid: of the scene.
        corner: int64 [3], first grid cell of the block.
        share: float32 [X, Y, Z] in [0, 1]; above 0.5 is object.
        dark: bool [X, Y, Z], voxels inside the object that have no element.
    """

    grid: MaskGrid
    corner: Tensor
    share: Tensor
    dark: Tensor

    def share_at(self, positions_world: Tensor) -> Tensor:
        """Interpolate the object share at world positions [..., 3]: [...], 0 outside the block."""
        shape = torch.tensor(self.share.shape).to(self.share)
        unit = self.grid.bounds.to_unit(positions_world.to(self.share))
        local = (unit * self.grid.resolution - self.corner) / shape * 2 - 1
        sampled = functional.grid_sample(
            self.share[None, None],
            local.flip(-1).reshape(1, 1, 1, -1, 3),  # grid_sample takes the last axis first
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        return sampled.reshape(positions_world.shape[:-1])


def object_volume(scene: Scene, segmentation: Segmentation, name: str) -> ObjectVolume:
    """Build the volume of an object from its elements and the depths of the views.

    A voxel without an element is inside the object if elements of the object enclose it along at
    least two axes and no camera sees through it. Faint elements, and loose parts with little
    evidence, are left out: they are background that votes reached through haze.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the object.
        name: of the object.

    Raises:
        SA3DError: there is no such object, or no element belongs to it.
    """
    segmentation.object(name)
    label = list(segmentation.objects).index(name)
    labels = segmentation.labels()
    grid, keys = segmentation.elements.grid, segmentation.elements.keys
    own = labels == label
    if not own.any():
        raise SA3DError(
            f"object {name!r} is empty: no part of the scene belongs to it; add prompts to it"
        )
    cells = grid.cells(keys)
    main = own.clone()
    main[own] = _main_parts(cells[own], segmentation.object(name).evidence.object[own])
    corner = (cells[main].amin(dim=0) - _MARGIN).clamp_min(0)
    size = (cells[main].amax(dim=0) + 1 + _MARGIN).clamp_max(grid.resolution) - corner
    near = ((cells >= corner) & (cells < corner + size)).all(dim=-1)
    x, y, z = (cells[near] - corner).unbind(dim=-1)

    def block(values: Tensor) -> Tensor:
        out = torch.zeros(tuple(size.tolist()), device=keys.device)
        out[x, y, z] = values[near].float()
        return out

    values = centred_share(segmentation.probability(name), segmentation.threshold)
    values = torch.where(own, values, torch.where(labels == BACKGROUND, values.clamp_max(0.5), 0.0))
    lit = (block(~own) > 0) | ((block(own) > 0) & (_grown(block(main)) > 0))
    share = torch.where(lit, block(values), 0.0)
    dark = _enclosed(share > 0.5) & ~lit
    dark[dark.clone()] = ~_seen(scene, torch.nonzero(dark) + corner, margin=1.0)
    share[dark] = 1
    free = (_grown(share) > 0) & ~(lit | dark)
    free[free.clone()] = _seen(scene, torch.nonzero(free) + corner, margin=0.0)
    return ObjectVolume(grid, corner, _with_halo(share, lit | dark, free), dark)


def cell_size(grid: MaskGrid, positions_unit: Tensor) -> Tensor:
    """Return the side of a voxel in world units, [N], at positions [N, 3] of the unit cube."""
    half = 0.5 / grid.resolution
    low, high = (grid.bounds.to_world(positions_unit + sign * half) for sign in (-1, 1))
    return (high - low).norm(dim=-1) / 3**0.5


def _grown(values: Tensor) -> Tensor:
    """Return the maximum within ``_HALO`` voxels of each voxel, [X, Y, Z]."""
    return functional.max_pool3d(values[None, None], 2 * _HALO + 1, stride=1, padding=_HALO)[0, 0]


def _main_parts(cells: Tensor, light: Tensor) -> Tensor:
    """Select the cells [N, 3] of the parts with most of the evidence ``light`` [N]: bool [N].

    The faintest cells, ``1 - _LIGHT`` of all evidence, are removed first, since haze connects
    separate parts; then the connected parts with little evidence.
    """
    sorted_light, order = light.sort(descending=True)
    before = sorted_light.cumsum(0) - sorted_light
    main = torch.zeros_like(light, dtype=torch.bool)
    main[order] = before < _LIGHT * ordered_sum(light)
    main[main.clone()] = _large_parts(cells[main], light[main])
    return main


def _large_parts(cells: Tensor, light: Tensor) -> Tensor:
    """Select the cells [N, 3] in connected parts with enough of the evidence [N]: bool [N]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    pairs = KDTree(cells.cpu().numpy()).query_pairs(_BRIDGE, p=np.inf, output_type="ndarray")
    edges = coo_matrix((np.ones(len(pairs), dtype=bool), pairs.T), shape=(len(cells),) * 2)
    part = torch.from_numpy(connected_components(edges, directed=False)[1]).to(cells)
    sums = light.new_zeros(int(part.max()) + 1).index_add_(0, part, light)
    return sums[part] >= _MIN_PART * sums.max()


def centred_share(share: Tensor, threshold: float) -> Tensor:
    """Stretch evidence shares [N] so that the threshold is moved to 0.5."""
    below = share / (2 * threshold)
    above = 0.5 + (share - threshold) / (2 * (1 - threshold))
    return torch.where(share <= threshold, below, above)


def _enclosed(object_voxels: Tensor) -> Tensor:
    """Select the voxels with object voxels on both sides along at least two of the three axes."""
    count = torch.zeros_like(object_voxels, dtype=torch.uint8)
    for axis in range(3):
        values = object_voxels.to(torch.uint8)
        before = values.cummax(dim=axis).values
        after = values.flip(axis).cummax(dim=axis).values.flip(axis)
        count += before & after
    return count >= 2


def _seen(scene: Scene, cells: Tensor, margin: float) -> Tensor:
    """Select the cells [N, 3] that some camera sees through, by ``margin`` voxels: bool [N]."""
    unit = (cells.to(torch.float32) + 0.5) / scene.grid.resolution
    centers = scene.grid.bounds.to_world(unit)
    slack = margin * cell_size(scene.grid, unit)
    seen = torch.zeros(len(cells), dtype=torch.bool, device=cells.device)
    for index in range(len(scene.views)):
        rest = torch.nonzero(~seen)[:, 0]
        prepared = scene.prepared(index)
        camera = prepared.camera
        free = _free_depth(prepared.render, sure=margin > 0)
        pixels, z = camera.project(centers[rest])
        x, y = pixels.floor().long().unbind(dim=-1)
        visible = (z > 0) & (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        rest, x, y = rest[visible], x[visible].cpu(), y[visible].cpu()
        distance = (centers[rest] - camera.position.to(centers)).norm(dim=-1)
        seen[rest] = free[y, x].to(distance) > distance + slack[rest]
    return seen


def _free_depth(render: ViewRender, *, sure: bool) -> Tensor:
    """Return each ray's free length, [h, w]; if ``sure``, the minimum of 3 x 3 pixels."""
    depth = torch.where(render.accumulation < 0.5, torch.inf, render.depth)
    if not sure:
        return depth
    return -functional.max_pool2d(-depth[None, None], 3, stride=1, padding=1)[0, 0]


def _with_halo(share: Tensor, known: Tensor, free: Tensor) -> Tensor:
    """Give unknown voxels the mean share of their known neighbours, in ``_HALO`` steps.

    In free space, one known neighbour is enough, since haze surrounds the surface there. In unseen
    space, a share of ``_CLOSING`` of the neighbours must be known, so that gaps in the surface
    close, but a flat bottom does not grow.
    """
    values, weight = share[None, None], known[None, None].to(share)
    for _ in range(_HALO):
        total = functional.avg_pool3d(weight, 3, stride=1, padding=1)
        mean = functional.avg_pool3d(values * weight, 3, stride=1, padding=1)
        reached = (weight == 0) & (total > torch.where(free, 1e-6, _CLOSING))
        values = torch.where(reached, mean / total.clamp_min(1e-6), values)
        weight = torch.where(reached, 1.0, weight)
    return values[0, 0]
