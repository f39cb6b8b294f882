"""An object as a solid block of voxels: its lit skin, its dark inside, and a thin halo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sa3d.base.errors import SA3DError
from sa3d.objects.segmentation import BACKGROUND, Segmentation
from sa3d.scene.elements import MaskGrid
from sa3d.scene.scene import Scene
from sa3d.scene.view_operator import ViewRender

_MARGIN = 4
"""Voxels around the object's box."""
_HALO = 2
"""Voxels beyond the lit ones that still take their neighbours' share."""

_LIGHT = 0.95
"""Share of the object's light its main elements hold; the rest is haze."""
_BRIDGE = 1
"""Voxels up to this far apart, along each axis, belong to one part."""
_MIN_PART = 0.02
"""Parts with less than this share of the brightest part's light are left out."""
_CLOSING = 0.4
"""Share of a voxel's 27 neighbours, itself included, above which an unseen voxel joins them."""


@dataclass(frozen=True)
class ObjectVolume:
    """How much of each voxel is object, in the block around it.

    Elements exist only where light falls: on surfaces. Whoever cuts an object out needs its inside
    as well, and the haze in front of its surface that no view operator kept.

    Attributes:
        grid: the scene's grid.
        corner: int64 [3], the block's first cell.
        share: float32 [X, Y, Z] in [0, 1]; above 0.5 is object.
        dark: bool [X, Y, Z], inside of the object where no light falls.
    """

    grid: MaskGrid
    corner: Tensor
    share: Tensor
    dark: Tensor

    def share_at(self, positions_world: Tensor) -> Tensor:
        """How much the space at positions [..., 3] is object, [...], 0 outside the block.

        Interpolated between voxel centres.
        """
        shape = torch.tensor(self.share.shape).to(self.share)
        unit = self.grid.bounds.to_unit(positions_world.to(self.share))
        local = (unit * self.grid.resolution - self.corner) / shape * 2 - 1
        sampled = functional.grid_sample(
            self.share[None, None],
            local.flip(-1).reshape(1, 1, 1, -1, 3),  # grid_sample counts the last axis first
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        return sampled.reshape(positions_world.shape[:-1])


def object_volume(scene: Scene, segmentation: Segmentation, name: str) -> ObjectVolume:
    """The object's block, from its elements' labels and shares and the scene's depths.

    A dark voxel belongs to the inside if elements of the object enclose it along at least two axes
    and no camera has seen through it. Faint elements and loose parts far from where most of the
    object's light comes from are left out: masks throw them, through haze, on the background.

    Raises:
        SA3DError: no such object, or no element belongs to it.
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
    """Side of a voxel in world units, [N], at positions [N, 3] of the unit cube."""
    half = 0.5 / grid.resolution
    low, high = (grid.bounds.to_world(positions_unit + sign * half) for sign in (-1, 1))
    return (high - low).norm(dim=-1) / 3**0.5


def _grown(values: Tensor) -> Tensor:
    """Each voxel's largest value within ``_HALO`` voxels, [X, Y, Z]."""
    return functional.max_pool3d(values[None, None], 2 * _HALO + 1, stride=1, padding=_HALO)[0, 0]


def _main_parts(cells: Tensor, light: Tensor) -> Tensor:
    """Which cells [N, 3] belong to the parts that hold the light [N], bool [N].

    First the faintest cells go, ``1 - _LIGHT`` of all light, which are haze that would connect
    everything; then connected parts with little light.
    """
    sorted_light, order = light.sort(descending=True)
    before = sorted_light.cumsum(0) - sorted_light
    main = torch.zeros_like(light, dtype=torch.bool)
    main[order] = before < _LIGHT * light.sum()
    main[main.clone()] = _large_parts(cells[main], light[main])
    return main


def _large_parts(cells: Tensor, light: Tensor) -> Tensor:
    """Which cells [N, 3] lie in connected parts with a fair share of the light [N], bool [N]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    pairs = KDTree(cells.cpu().numpy()).query_pairs(_BRIDGE, p=np.inf, output_type="ndarray")
    edges = coo_matrix((np.ones(len(pairs), dtype=bool), pairs.T), shape=(len(cells),) * 2)
    part = torch.from_numpy(connected_components(edges, directed=False)[1]).to(cells)
    total = light.new_zeros(int(part.max()) + 1).index_add_(0, part, light)
    return total[part] >= _MIN_PART * total.max()


def centred_share(share: Tensor, threshold: float) -> Tensor:
    """Evidence shares [N] stretched so that the threshold comes to lie at 0.5."""
    below = share / (2 * threshold)
    above = 0.5 + (share - threshold) / (2 * (1 - threshold))
    return torch.where(share <= threshold, below, above)


def _enclosed(object_voxels: Tensor) -> Tensor:
    """Voxels with the object on both sides along at least two of the three axes."""
    count = torch.zeros_like(object_voxels, dtype=torch.uint8)
    for axis in range(3):
        values = object_voxels.to(torch.uint8)
        before = values.cummax(dim=axis).values
        after = values.flip(axis).cummax(dim=axis).values.flip(axis)
        count += before & after
    return count >= 2


def _seen(scene: Scene, cells: Tensor, margin: float) -> Tensor:
    """Whether any camera's depth lies ``margin`` voxels or more behind cells [N, 3], bool [N]."""
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
    """How far each pixel's ray runs freely, [h, w]; if ``sure``, its eight neighbours' too."""
    depth = torch.where(render.accumulation < 0.5, torch.inf, render.depth)
    if not sure:
        return depth
    return -functional.max_pool2d(-depth[None, None], 3, stride=1, padding=1)[0, 0]


def _with_halo(share: Tensor, known: Tensor, free: Tensor) -> Tensor:
    """Unknown voxels beside known ones take the mean share of those.

    In free space one known neighbour is enough: that is haze. In the unseen it takes
    ``_CLOSING`` of them, which closes gaps in the skin but does not grow a flat bottom.
    """
    values, weight = share[None, None], known[None, None].to(share)
    for _ in range(_HALO):
        total = functional.avg_pool3d(weight, 3, stride=1, padding=1)
        mean = functional.avg_pool3d(values * weight, 3, stride=1, padding=1)
        reached = (weight == 0) & (total > torch.where(free, 1e-6, _CLOSING))
        values = torch.where(reached, mean / total.clamp_min(1e-6), values)
        weight = torch.where(reached, 1.0, weight)
    return values[0, 0]
