"""Clusters of surface on a lattice, and where two things that touch part again.

Surface of one thing is mostly convex; where two things touch there is a valley. A cluster is cut
along its valleys, but only into parts that are large and that each stand on the support themselves:
a handle in the air stays with its mug. A part whose foot the NeRF lacks stands, too, if nothing
else could carry it and its color is its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_CELLS = 1 << 20
"""Cells along each side of the lattice; what lies outside is left out."""

_VALLEY = -0.05
"""A cell lies in a valley if normals turn towards each other by more than this per step."""

_SMOOTHING = 2
"""How often normals are averaged with their neighbours'."""

_MIN_CELLS = 50
"""A cluster of fewer cells is not cut."""

_MIN_PART = 0.1
"""Nor is a part with a smaller share of the cluster's cells cut off."""

_CARRIED = 0.25
"""A part with a larger share of its cells above another part is carried by that."""

_OWN_COLOR = 0.15
"""Colors (RGB in [0, 1]) further apart than this are different."""


@dataclass(frozen=True)
class Lattice:
    """Occupied cells, and which of them touch (at corners too).

    Attributes:
        of_point: int64 [N], the cell of each point, -1 for none.
        pairs: int64 [2, E], cells that touch, each pair once.
        size: number of cells.
    """

    of_point: Tensor
    pairs: Tensor
    size: int

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each cell's points of values [N, K]: [size, K]."""
        inside = self.of_point >= 0
        summed = values.new_zeros(self.size, values.shape[1])
        summed.index_add_(0, self.of_point[inside], values[inside])
        counts = torch.bincount(self.of_point[inside], minlength=self.size)
        return summed / counts[:, None]

    def components(self, kept: Tensor) -> Tensor:
        """Connected components of the cells ``kept`` [size] bool: int64 [size], -1 elsewhere."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        rows, columns = self.pairs[:, kept[self.pairs].all(dim=0)].numpy()
        graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(self.size,) * 2)
        _, component = connected_components(graph, directed=False)
        return torch.where(kept, torch.from_numpy(component).long(), -1)


@dataclass(frozen=True)
class Surface:
    """What is known of a lattice's cells.

    Attributes:
        positions: [size, 3], world units.
        normals: [size, 3], towards the cameras, unit length or less.
        colors: [size, 3], RGB in [0, 1].
        heights: [size], above the support.
        columns: int64 [size], the same for cells above one another.
        grounded: bool [size], near a support.
    """

    positions: Tensor
    normals: Tensor
    colors: Tensor
    heights: Tensor
    columns: Tensor
    grounded: Tensor


def build_lattice(
    points: Tensor, solid: Tensor, view_ids: Tensor, cell: float, min_views: int
) -> Lattice:
    """The cells that enough views see a surface in.

    Args:
        points: [N, 3], world units.
        solid: [N] bool, the points that count.
        view_ids: int64 [N], the view each point is seen in.
        cell: side of a cell, world units.
        min_views: cells with points of fewer views are left out.
    """
    of_point = torch.full((len(points),), -1)
    cells = torch.floor(points / cell)
    solid = solid & (cells.abs() < _CELLS // 2 - 1).all(dim=-1)
    if not solid.any():
        return Lattice(of_point, torch.empty(2, 0, dtype=torch.int64), 0)
    x, y, z = (cells[solid].long() + _CELLS // 2).unbind(dim=-1)
    keys, slot = torch.unique((x * _CELLS + y) * _CELLS + z, return_inverse=True)
    num_views = int(view_ids.max()) + 1
    seen = torch.unique(slot * num_views + view_ids[solid]) // num_views
    kept = torch.bincount(seen, minlength=len(keys)) >= min_views
    number = torch.where(kept, kept.cumsum(0) - 1, -1)
    of_point[solid] = number[slot]
    return Lattice(of_point, _touching_pairs(keys[kept]), int(kept.sum()))


def clusters(lattice: Lattice, surface: Surface) -> Tensor:
    """Cells that belong together, int64 [size]: components, parted where two things touch."""
    if not lattice.size:
        return torch.empty(0, dtype=torch.int64)
    whole = lattice.components(torch.ones(lattice.size, dtype=torch.bool))
    ridge = ~_valleys(lattice, surface.normals, surface.positions)
    parts = lattice.components(ridge)
    number = int(whole.max()) + 1
    result = whole.clone()
    for cluster in range(number):
        inside = whole == cluster
        if int(inside.sum()) < _MIN_CELLS:
            continue
        sizes = torch.bincount(parts[inside & ridge], minlength=1)
        large = torch.nonzero(sizes >= _MIN_PART * int(inside.sum()))[:, 0].tolist()
        rooms = {part: inside & (parts == part) for part in large}
        seeds = [room for room in rooms.values() if _stands(room, rooms.values(), surface)]
        if len(seeds) < 2:
            continue
        result[inside] = -1
        for seed in seeds:
            result[seed] = number
            number += 1
        result = _spread(lattice, result, inside)
    return result


def _stands(part: Tensor, parts: Iterable[Tensor], surface: Surface) -> bool:
    """Whether a part [size] bool, one of ``parts``, is a thing of its own."""
    if bool((part & surface.grounded).any()):
        return True
    others = torch.stack(list(parts)).any(dim=0) & ~part
    if not others.any():
        return False
    colors = [surface.colors[where].median(dim=0).values for where in (part, others)]
    lowest = torch.full((int(surface.columns.max()) + 1,), torch.inf)
    lowest.scatter_reduce_(0, surface.columns[others], surface.heights[others], "amin")
    carried = lowest[surface.columns[part]] < surface.heights[part]
    apart = float((colors[0] - colors[1]).norm())
    return apart > _OWN_COLOR and float(carried.float().mean()) < _CARRIED


def _valleys(lattice: Lattice, normals: Tensor, positions: Tensor) -> Tensor:
    """Cells [size] bool in which the surface is concave."""
    one, other = lattice.pairs
    for _ in range(_SMOOTHING):
        summed = normals.clone()
        summed.index_add_(0, one, normals[other])
        summed.index_add_(0, other, normals[one])
        normals = torch.nn.functional.normalize(summed, dim=-1)
    step = torch.nn.functional.normalize(positions[other] - positions[one], dim=-1)
    turn = ((normals[other] - normals[one]) * step).sum(dim=-1)
    total = turn.new_zeros(lattice.size).index_add_(0, one, turn).index_add_(0, other, turn)
    degree = torch.bincount(lattice.pairs.reshape(-1), minlength=lattice.size)
    deep = total / degree.clamp_min(1) < _VALLEY
    wide = deep.clone()  # cells touch at corners: one cell's width of valley would leak
    wide[one[deep[other]]] = True
    wide[other[deep[one]]] = True
    return wide


def _spread(lattice: Lattice, labels: Tensor, where: Tensor) -> Tensor:
    """Cells without a label (-1) take that of a neighbour, step by step outward."""
    labels = labels.clone()
    one, other = lattice.pairs
    while True:
        open_ = where & (labels < 0)
        spread = torch.full_like(labels, -1)
        for a, b in ((one, other), (other, one)):
            reached = open_[a] & (labels[b] >= 0)
            spread.scatter_reduce_(0, a[reached], labels[b[reached]], "amax")
        if not (open_ & (spread >= 0)).any():
            return labels
        labels = torch.where(open_, spread, labels)


def _touching_pairs(keys: Tensor) -> Tensor:
    """Positions of cells that touch among ascending lattice keys: int64 [2, E]."""
    pairs = [torch.empty(2, 0, dtype=torch.int64)]
    steps = (-1, 0, 1)
    offsets = [(a * _CELLS + b) * _CELLS + c for a in steps for b in steps for c in steps]
    for offset in (o for o in offsets if o > 0 and len(keys)):
        there = torch.searchsorted(keys, keys + offset).clamp_max(len(keys) - 1)
        touch = keys[there] == keys + offset
        pairs.append(torch.stack([torch.nonzero(touch)[:, 0], there[touch]]))
    return torch.cat(pairs, dim=1)
