"""Find what stands out in a scene by its geometry alone: clusters of surface on no large plane.

A table, a floor or a wall is a large plane that no camera looks at from behind. Surface on such a
plane or behind it is support or background. The surface in front of it falls into clusters that do
not touch each other: candidates for objects, the same ones in every view.

Three steps: find the planes, cluster the remaining surface on a lattice and cut clusters where two
things touch, and grow the clusters by color over pixels that geometry cannot decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sa3d.scene.scene import PreparedView, Scene
from sa3d.surfaces.config import StandingOutConfig


@dataclass(frozen=True)
class Plane:
    """A plane, the points with ``normal @ x == offset``; the cameras are on the greater side."""

    normal: Tensor
    offset: float

    def height(self, points: Tensor) -> Tensor:
        """Return the signed distance [...] of points [..., 3], in world units."""
        return points @ self.normal - self.offset


@dataclass(frozen=True)
class StandingOut:
    """Large planes, and the clusters of surface in front of them.

    Attributes:
        planes: the planes, largest first.
        thickness: surface less than this (world units) in front of a plane is on the plane.
        clusters: per view, the cluster seen in each pixel, int64 [h, w], -1 for none. Clusters have
            the same numbers in all views, from 0 by falling number of pixels.
    """

    planes: list[Plane]
    thickness: float
    clusters: list[Tensor]


def find_standing_out(scene: Scene, config: StandingOutConfig) -> StandingOut:
    """Find the large planes of a prepared scene, and the clusters of surface in front of them."""
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
    """Find large planes with all cameras on one side, by RANSAC; the largest first.

    Own code: Open3D's ``segment_plane`` takes twice as long for the same number of points, another
    2.3 s for its import, and finds different planes at every call (its seed is global).

    Args:
        points: [N, 3], on surfaces.
        cameras: [V, 3], positions of the cameras.
        config: settings.
        footprint: the unit of the configured lengths, world units.
    """
    if not len(points):
        return []
    random = torch.Generator().manual_seed(0)
    near = config.plane_thickness * footprint
    sample = points[torch.randint(0, len(points), (8000,), generator=random)]
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
        if front < 0.95:  # cameras on both sides: no support
            behind = plane.height(sample).abs() < near
        else:
            planes.append(plane)
        sample = sample[~behind]
    return planes


def _refined(points: Tensor, plane: Plane, near: float) -> Plane:
    """Fit a plane to the points near it by least squares, three times in turn."""
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
    """Return the share of the views in whose image points [N, 3] are, hidden or not: [N]."""
    inside = torch.zeros(len(points))
    for view in scene.views:
        inside += view.camera.in_image(points)
    return inside / len(scene.views)


def _surface(
    lattice: Lattice,
    views: Sequence[PreparedView],
    points: Tensor,
    planes: Sequence[Plane],
    cell: float,
    thickness: float,
) -> Surface:
    """Return the cells' properties; the support is the plane that most cells are near."""
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
    """Return the cluster of each point, numbered by falling number of points; -1 for none."""
    if not len(of_cell):
        return of_point
    found = torch.where(of_point >= 0, of_cell[of_point.clamp_min(0)], -1)
    order = torch.bincount(found[found >= 0]).argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return torch.where(found >= 0, rank[found.clamp_min(0)], -1)


def _normals(view: PreparedView) -> Tensor:
    """Return surface normals [R, 3] towards the camera; zero at the border of the image."""
    points = view.points_world.cpu()
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    normals = torch.nn.functional.normalize(torch.linalg.cross(across, down), dim=-1)
    towards = view.camera.position.float().cpu() - points[1:-1, 1:-1]
    normals = normals * (normals * towards).sum(dim=-1, keepdim=True).sign()
    return torch.nn.functional.pad(normals, (0, 0, 1, 1, 1, 1)).reshape(-1, 3)


def _firm(scene: Scene, index: int, max_step: float) -> Tensor:
    """Select the pixels, bool [R], that see one surface and not the edge between two."""
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


_CELLS = 1 << 20
"""Cells along each side of the lattice; points outside are left out."""

_VALLEY = -0.05
"""A cell is in a valley if normals turn towards each other by more than this per step."""

_SMOOTHING = 2
"""Number of times that normals are averaged with those of neighbouring cells."""

_MIN_CELLS = 50
"""A cluster of fewer cells is not cut."""

_MIN_PART = 0.1
"""A part with a smaller share of the cluster's cells is not cut off."""

_CARRIED = 0.25
"""A part with a larger share of its cells above other parts is carried by them."""

_OWN_COLOR = 0.15
"""Colors (RGB in [0, 1]) further apart than this are different."""


@dataclass(frozen=True)
class Lattice:
    """Occupied cells, and the pairs of them that touch (at corners too).

    Attributes:
        of_point: int64 [N], the cell of each point, -1 for none.
        pairs: int64 [2, E], cells that touch, each pair once.
        size: number of cells.
    """

    of_point: Tensor
    pairs: Tensor
    size: int

    def mean(self, values: Tensor) -> Tensor:
        """Average values [N, K] over the points of each cell: [size, K]."""
        inside = self.of_point >= 0
        summed = values.new_zeros(self.size, values.shape[1])
        summed.index_add_(0, self.of_point[inside], values[inside])
        counts = torch.bincount(self.of_point[inside], minlength=self.size)
        return summed / counts[:, None]

    def components(self, kept: Tensor) -> Tensor:
        """Number connected parts of the cells ``kept`` [size] bool: int64 [size], -1 outside."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        rows, columns = self.pairs[:, kept[self.pairs].all(dim=0)].numpy()
        graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(self.size,) * 2)
        _, component = connected_components(graph, directed=False)
        return torch.where(kept, torch.from_numpy(component).long(), -1)


@dataclass(frozen=True)
class Surface:
    """Properties of the cells of a lattice.

    Attributes:
        positions: [size, 3], world frame.
        normals: [size, 3], towards the cameras, of unit length or less.
        colors: [size, 3], RGB in [0, 1].
        heights: [size], above the support, world units.
        columns: int64 [size], equal for cells above one another.
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
    """Build the lattice of the cells in which enough views see a surface.

    Args:
        points: [N, 3], world frame.
        solid: [N] bool, the points that count.
        view_ids: int64 [N], the view that sees each point.
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
    keys = keys[kept]
    occupied = torch.stack([keys // _CELLS**2, keys // _CELLS % _CELLS, keys % _CELLS], dim=1)
    return Lattice(of_point, _touching_pairs(occupied), len(occupied))


def clusters(lattice: Lattice, surface: Surface) -> Tensor:
    """Cluster the cells, int64 [size]: connected parts, cut where two things touch.

    The surface of one thing is mostly convex, and there is a valley where two things touch. A
    part is cut along its valleys, but only into large pieces that each stand on the support: a
    handle in the air stays with its mug. A NeRF may lack the foot of a piece; such a piece counts
    as standing if nothing else can carry it and its color differs from that of the others.
    """
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
    """Return whether a part, bool [size], one of ``parts``, stands by itself."""
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
    """Select the cells, bool [size], in which the surface is concave."""
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
    wide = deep.clone()  # labels would cross a valley one cell wide, since cells touch at corners
    wide[one[deep[other]]] = True
    wide[other[deep[one]]] = True
    return wide


def _spread(lattice: Lattice, labels: Tensor, where: Tensor) -> Tensor:
    """Spread labels over the cells ``where`` that have none (-1), one step outward at a time.

    If two labels meet, the larger number wins. No flood fill of SciPy offers this.
    """
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


def _touching_pairs(cells: Tensor) -> Tensor:
    """Return the pairs of cells [N, 3] that touch, at corners too: int64 [2, E], i < j.

    Args:
        cells: in ascending order, x first.
    """
    from scipy.spatial import KDTree

    pairs = KDTree(cells.numpy()).query_pairs(1, p=np.inf, output_type="ndarray")
    x, y, z = (cells[pairs[:, 1]] - cells[pairs[:, 0]]).numpy().T
    order = np.lexsort((pairs[:, 0], z, y, x))  # sums over neighbours depend on the order
    return torch.from_numpy(pairs[order].T.astype(np.int64))


_BINS = 16
"""Bins of the color histograms, per channel."""

_AROUND = 0.5
"""Width of the surroundings of a cluster's box, as a share of its longer side."""


def grow_clusters(
    clusters: Sequence[Tensor], rgb: Sequence[Tensor], doubtful: Sequence[Tensor]
) -> list[Tensor]:
    """Add to clusters the doubtful pixels that are connected with them and have their colors.

    Geometry cannot decide some pixels: depth at an object's outline is between two surfaces, and a
    flat foot is no higher than the bumps that a NeRF gives a table. Such a pixel joins a cluster
    that it is connected with if its color is more common on the cluster than around it.

    Args:
        clusters: per view, int64 [h, w], -1 for none.
        rgb: per view, [h, w, 3] in [0, 1].
        doubtful: per view, bool [h, w], the pixels that may join; the others do not change.

    Returns:
        The grown clusters, per view, int64 [h, w].
    """
    number = max((int(one.max()) for one in clusters), default=-1) + 1
    if number == 0:
        return list(clusters)
    bins = [_bins(one) for one in rgb]
    own = torch.zeros(number, _BINS**3)
    around = torch.zeros(number, _BINS**3)
    for labels, code in zip(clusters, bins, strict=True):
        for cluster in labels.unique().tolist():
            if cluster >= 0:
                mine = labels == cluster
                near = _padded_box(mine) & ~mine
                own[cluster] += torch.bincount(code[mine], minlength=_BINS**3)
                around[cluster] += torch.bincount(code[near], minlength=_BINS**3)
    own, around = _smoothed(own), _smoothed(around)
    likeness = own / (own + around + 1e-12)
    return [
        _grown(labels, likeness[:, code], open_)
        for labels, code, open_ in zip(clusters, bins, doubtful, strict=True)
    ]


def _bins(rgb: Tensor) -> Tensor:
    """Return the histogram bin of each color [h, w, 3]: int64 [h, w]."""
    r, g, b = (rgb * _BINS).long().clamp(0, _BINS - 1).unbind(dim=-1)
    return (r * _BINS + g) * _BINS + b


def _smoothed(histograms: Tensor) -> Tensor:
    """Blur histograms [K, bins] by one bin along each channel, and scale each to sum 1."""
    cube = histograms.reshape(-1, 1, _BINS, _BINS, _BINS)
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = kernel[:, None, None] * kernel[None, :, None] * kernel
    blurred = functional.conv3d(cube, kernel[None, None], padding=1).reshape(histograms.shape)
    return blurred / blurred.sum(dim=-1, keepdim=True).clamp_min(1e-12)


def _grown(labels: Tensor, likeness: Tensor, doubtful: Tensor) -> Tensor:
    """Grow the clusters [h, w] of one view.

    Args:
        likeness: [K, h, w], share of each cluster in the pixel's color.
    """
    from skimage.measure import label

    grown = labels.clone()
    best = torch.full(labels.shape, 0.5)
    for cluster in labels.unique().tolist():
        if cluster < 0:
            continue
        mine = labels == cluster
        like = doubtful & _padded_box(mine) & (likeness[cluster] > best)
        parts = torch.from_numpy(
            np.asarray(label((mine | like).numpy(), background=0, connectivity=1))
        )
        connected = torch.zeros(int(parts.max()) + 1, dtype=torch.bool)
        connected[parts[mine]] = True
        joins = like & connected[parts]
        grown[joins] = cluster
        best[joins] = likeness[cluster][joins]
    return grown


def _padded_box(mask: Tensor) -> Tensor:
    """Return the box of a mask, padded by ``_AROUND`` of its longer side: bool [h, w]."""
    y, x = torch.nonzero(mask, as_tuple=True)
    pad = int(_AROUND * int(max(y.max() - y.min(), x.max() - x.min()))) + 2
    box = torch.zeros_like(mask)
    box[max(0, int(y.min()) - pad) : int(y.max()) + pad + 1,
        max(0, int(x.min()) - pad) : int(x.max()) + pad + 1] = True  # fmt: skip
    return box
