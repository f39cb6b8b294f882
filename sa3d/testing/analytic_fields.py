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
    """A solid of one color.

    Shapes are frozen dataclasses, so that different shapes have different ``repr``.
    """

    @property
    def color(self) -> Vector:
        """RGB in [0, 1]."""
        ...

    def signed_distance(self, points: Tensor) -> Tensor:
        """Return the distance [...] of points [..., 3] to the surface, negative inside."""
        ...

    def intersect(self, rays: Rays) -> Tensor:
        """Return the distance along each ray to the first surface point, [R]; inf for a miss."""
        ...


@dataclass(frozen=True)
class Sphere:
    """A ball; with ``thickness``, a hollow ball with a wall of that thickness."""

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
    """Return where rays enter and leave an axis-aligned box, [R]; ``enter > leave`` for a miss."""
    safe = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    to_low = (torch.tensor(low).to(rays.origins) - rays.origins) / safe
    to_high = (torch.tensor(high).to(rays.origins) - rays.origins) / safe
    return torch.minimum(to_low, to_high).amax(-1), torch.maximum(to_low, to_high).amin(-1)


class AnalyticField:
    """A field of opaque shapes in empty space, with a fixed number of samples along each ray.

    A field in a box has even samples along the part of the ray in the box. A contracted field has
    even samples up to ``middle``, and samples even in disparity from there to ``far``, as
    nerfacto's first sampler. The depth is the median.

    Args:
        shapes: the shapes.
        bounds: space of the field; shapes are cut off at the sides of a box.
        num_samples: along each ray.
        density: inside the shapes, per world unit; it is 0 outside.
        softness: width, in world units, over which the density rises linearly at the surface.
        background: RGB behind the shapes.
        middle: distance at which the samples become even in disparity, world units.
        far: distance of the last sample, world units.
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
        """Return the exact index of the first shape that each ray hits, [R]; -1 for none.

        The shapes must be inside the bounds.
        """
        distances = torch.stack([shape.intersect(rays) for shape in self.shapes], dim=-1)
        nearest, index = distances.min(dim=-1)
        return torch.where(nearest.isfinite(), index, -1)

    def _distances(self, positions: Tensor) -> Tensor:
        return torch.stack([shape.signed_distance(positions) for shape in self.shapes], dim=-1)

    def _sample_edges(self, rays: Rays) -> Tensor:
        """Return the edges of the samples along each ray, [R, S + 1]."""
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
