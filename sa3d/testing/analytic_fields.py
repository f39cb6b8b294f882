"""Radiance fields with known answers: opaque colored shapes, ray-sampled like a NeRF."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays

Vector = tuple[float, float, float]


class Shape(Protocol):
    """A solid of one color. Frozen dataclasses, so that ``repr`` tells two of them apart."""

    @property
    def color(self) -> Vector:
        """RGB in [0, 1]."""
        ...

    def signed_distance(self, points: Tensor) -> Tensor:
        """Distance to the surface, [...] of points [..., 3], negative inside, world units."""
        ...

    def intersect(self, rays: Rays) -> Tensor:
        """Distance along each ray to the first surface point, [R]; infinite for a miss."""
        ...


@dataclass(frozen=True)
class Sphere:
    """A ball, or with ``thickness`` a hollow one whose wall is that thick."""

    center: Vector
    radius: float
    color: Vector = (0.9, 0.2, 0.1)
    thickness: float | None = None

    def signed_distance(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        outer = (points - torch.tensor(self.center).to(points)).norm(dim=-1) - self.radius
        if self.thickness is None:
            return outer
        return torch.maximum(outer, -self.thickness - outer)

    def intersect(self, rays: Rays) -> Tensor:
        """See ``Shape``; rays start outside."""
        to_center = torch.tensor(self.center).to(rays.origins) - rays.origins
        along = (to_center * rays.directions).sum(-1)
        missed_by2 = (to_center**2).sum(-1) - along**2
        half_chord2 = self.radius**2 - missed_by2
        first = along - half_chord2.clamp_min(0).sqrt()
        return torch.where((half_chord2 > 0) & (first > 0), first, torch.inf)


@dataclass(frozen=True)
class Box:
    """An axis-aligned box."""

    low: Vector
    high: Vector
    color: Vector = (0.1, 0.3, 0.9)

    def signed_distance(self, points: Tensor) -> Tensor:
        """See ``Shape``."""
        low, high = (torch.tensor(corner).to(points) for corner in (self.low, self.high))
        beyond = torch.maximum(low - points, points - high)
        return beyond.clamp_min(0).norm(dim=-1) + beyond.amax(dim=-1).clamp_max(0)

    def intersect(self, rays: Rays) -> Tensor:
        """See ``Shape``; rays start outside."""
        enter, leave = slab_distances(rays, self.low, self.high)
        return torch.where((enter < leave) & (enter > 0), enter, torch.inf)


def slab_distances(rays: Rays, low: Vector, high: Vector) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave an axis-aligned box, [R] each; ``enter > leave`` for a miss."""
    safe = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    to_low = (torch.tensor(low).to(rays.origins) - rays.origins) / safe
    to_high = (torch.tensor(high).to(rays.origins) - rays.origins) / safe
    return torch.minimum(to_low, to_high).amax(-1), torch.maximum(to_low, to_high).amin(-1)


class AnalyticField:
    """Opaque shapes in empty space, rendered by a fixed number of samples along each ray.

    Boxed fields sample evenly where the ray runs through the box; contracted ones evenly up to
    ``middle`` and evenly in disparity from there to ``far``, as nerfacto starts out. Density is
    ``density`` per world unit inside the shapes, and 0 outside; it rises linearly over
    ``softness`` (world units) centred on the surface. Depth is the median.

    Args:
        shapes: what there is.
        bounds: space of the field; shapes beyond a box are cut off.
        background: RGB behind everything.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        bounds: Bounds | None = None,
        *,
        num_samples: int = 96,
        density: float = 400.0,
        softness: float = 0.0,
        background: Vector = (0.0, 0.0, 0.0),
        middle: float = 6.0,
        far: float = 60.0,
    ) -> None:
        self.shapes = list(shapes)
        self._bounds = bounds or Bounds("box")
        self._num_samples = num_samples
        self._density = density
        self._softness = softness
        self._background = background
        self._middle = middle
        self._far = far

    @property
    def bounds(self) -> Bounds:
        """See ``RadianceField``."""
        return self._bounds

    @property
    def fingerprint(self) -> str:
        """See ``RadianceField``."""
        options = {k: v for k, v in vars(self).items() if k != "shapes"}
        return hashlib.sha256(repr((self.shapes, sorted(options.items()))).encode()).hexdigest()

    @torch.no_grad()
    def density(self, positions_world: Tensor) -> Tensor:
        """See ``RadianceField``."""
        return self._density_at(positions_world, self._distances(positions_world).amin(dim=-1))

    def _density_at(self, positions: Tensor, distance: Tensor) -> Tensor:
        if self._softness > 0:
            solid = (0.5 - distance / self._softness).clamp(0, 1)
        else:
            solid = (distance < 0).to(distance)
        if self._bounds.kind == "box":
            unit = self._bounds.to_unit(positions)
            solid = solid * ((unit >= 0) & (unit <= 1)).all(dim=-1)
        return solid * self._density

    @torch.no_grad()
    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        """See ``RadianceField``; ``camera_index`` has no influence."""
        edges = self._sample_edges(rays)
        middles = (edges[:, :-1] + edges[:, 1:]) / 2
        positions = rays.origins[:, None] + rays.directions[:, None] * middles[..., None]
        distance, nearest = self._distances(positions).min(dim=-1)
        optical = self._density_at(positions, distance) * edges.diff()
        before = optical.cumsum(-1) - optical
        weights = torch.exp(-before) * -torch.expm1(-optical)
        colors = torch.tensor([shape.color for shape in self.shapes]).to(positions)
        sample_rgb = colors[nearest]
        accumulation = weights.sum(-1)
        behind = torch.tensor(self._background).to(positions)
        rgb = (weights[..., None] * sample_rgb).sum(-2) + (1 - accumulation)[:, None] * behind
        half = (weights.cumsum(-1) < 0.5).sum(-1, keepdim=True).clamp_max(middles.shape[-1] - 1)
        return FieldRender(
            rgb=rgb.clamp(0, 1),
            depth=middles.gather(-1, half)[:, 0],
            accumulation=accumulation.clamp_max(1),
            positions=positions,
            weights=weights,
            sample_rgb=sample_rgb,
        )

    def instances(self, rays: Rays) -> Tensor:
        """Index of the first shape each ray meets, exactly, [R]; -1 for none.

        Only where the shapes lie inside the bounds.
        """
        distances = torch.stack([shape.intersect(rays) for shape in self.shapes], dim=-1)
        nearest, index = distances.min(dim=-1)
        return torch.where(nearest.isfinite(), index, -1)

    def _distances(self, positions: Tensor) -> Tensor:
        return torch.stack([shape.signed_distance(positions) for shape in self.shapes], dim=-1)

    def _sample_edges(self, rays: Rays) -> Tensor:
        """Bin edges along each ray, [R, S + 1]."""
        share = torch.linspace(0, 1, self._num_samples + 1).to(rays.origins)
        if self._bounds.kind == "box":
            enter, leave = slab_distances(rays, *self._bounds.aabb)
            enter = enter.clamp_min(0)
            leave = torch.maximum(leave, enter)
            return enter[:, None] + (leave - enter)[:, None] * share
        linear = share / 0.75 * self._middle
        rest = ((share - 0.75) / 0.25).clamp_min(0)
        disparity = (1 - rest) / self._middle + rest / self._far
        edges = torch.where(share <= 0.75, linear, 1 / disparity)
        return edges.expand(len(rays), -1)
