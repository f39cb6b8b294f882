"""A radiance field with one object cut out: alone in empty space, or gone from the scene."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender, RadianceField
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays
from sa3d.results.config import Keep
from sa3d.results.object_volume import ObjectVolume, cell_size

FAR = 1e6
"""Depth, in world units, of a ray that meets nothing."""

_BLOCKED = 0.02
"""Below this transmittance a field's sampler stops placing samples that mean anything."""
_STEPS = 160
"""Voxels a ray is followed through a layer before the field is asked again."""


class MaskedField:
    """Keeps an object, or the rest, of another field; itself a radiance field.

    A sample's opacity ``alpha_j = w_j / T_j`` is multiplied by how much of it is kept, and weights
    follow anew, ``w'_j = alpha'_j prod_{k<j} (1 - alpha'_k)``. A NeRF places no samples behind the
    first opaque surface, so where that surface is taken away the field is rendered again, from
    where the ray leaves the part taken away: ``layers`` times at most.

    The color behind everything is white around a lone object, and the field's own otherwise.

    Args:
        field: must tell colors per sample.
        volume: the object.
        keep: the object alone, or everything else.
        soft: scale opacities by the share instead of cutting at 0.5.
    """

    def __init__(
        self,
        field: RadianceField,
        volume: ObjectVolume,
        keep: Keep,
        *,
        soft: bool = False,
        layers: int = 4,
    ) -> None:
        self._field = field
        self._volume = volume
        self._keep: Keep = keep
        self._soft = soft
        self._layers = layers

    @property
    def bounds(self) -> Bounds:
        """See ``RadianceField``."""
        return self._field.bounds

    @property
    def fingerprint(self) -> str:
        """See ``RadianceField``."""
        settings = (self._field.fingerprint, self._keep, self._soft, self._layers)
        digest = hashlib.sha256(repr((settings, self._volume.corner.tolist())).encode())
        digest.update(self._volume.share.cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def density(self, positions_world: Tensor) -> Tensor:
        """See ``RadianceField``."""
        density = self._field.density(positions_world)
        return density * self._kept(positions_world).to(density)

    @torch.no_grad()
    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        """See ``RadianceField``.

        Raises:
            SA3DError: the field does not tell colors per sample.
        """
        start, active = self._first_start(rays)
        light = torch.ones(len(rays), device=rays.origins.device)
        behind = torch.ones(len(rays), 3, device=rays.origins.device)
        layers = [self._layer(rays, start, active, light, behind, camera_index)]
        while len(layers) < self._layers and layers[-1].goes_on.any():
            active = torch.nonzero(layers[-1].goes_on)[:, 0]
            start = layers[-1].next_start
            layers.append(self._layer(rays, start, active, light, behind, camera_index))
        return _together(rays, layers, light, behind)

    def _kept(self, positions: Tensor) -> Tensor:
        share = self._volume.share_at(positions)
        if not self._soft:
            share = (share > 0.5).to(share)
        return share if self._keep == "object" else 1 - share

    def _first_start(self, rays: Rays) -> tuple[Tensor, Tensor]:
        """Distance each ray starts at, [R], and the rays that matter: a lone object's block."""
        if self._keep == "rest":
            return torch.zeros_like(rays.origins[:, 0]), torch.arange(
                len(rays), device=rays.origins.device
            )
        low, high = _world_box(self._volume)
        safe = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
        to_low = (low.to(safe) - rays.origins) / safe
        to_high = (high.to(safe) - rays.origins) / safe
        enter = torch.minimum(to_low, to_high).amax(dim=-1).clamp_min(0)
        leave = torch.maximum(to_low, to_high).amin(dim=-1)
        return enter, torch.nonzero(leave > enter)[:, 0]

    def _layer(
        self,
        rays: Rays,
        start: Tensor,
        active: Tensor,
        light: Tensor,
        behind: Tensor,
        camera_index: int,
    ) -> _Layer:
        """Render the active rays from ``start``, and take what is kept out of ``light`` [R]."""
        origins, directions = rays.origins[active], rays.directions[active]
        moved = Rays(origins + directions * start[active, None], directions)
        render = self._field.render(moved, camera_index)
        if render.sample_rgb is None:
            raise SA3DError("this field tells no colors per sample: an object cannot be cut out")
        before = (1 - render.weights.cumsum(-1) + render.weights).clamp(0, 1)
        alpha = (render.weights / before.clamp_min(1e-6)).clamp(0, 1)
        alpha = torch.where(before > _BLOCKED, alpha, 0.0)
        kept = alpha * self._kept(render.positions).to(alpha)
        through = torch.cumprod(1 - kept, dim=-1)
        weights = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], -1) * kept
        weights = weights * light[active, None]
        light[active] = light[active] * through[:, -1]

        if self._keep == "rest":
            behind[active] = _behind(render)
        opaque = before[:, -1] - render.weights[:, -1] < _BLOCKED
        cut = torch.where(before > _BLOCKED, _along(moved, render.positions), -torch.inf)
        goes_on = torch.zeros_like(start, dtype=torch.bool)
        next_start = start.clone()
        reached = start[active] + cut.amax(dim=-1).clamp_min(0)
        next_start[active], found = self._skip(Rays(origins, directions), reached)
        goes_on[active] = opaque & found & (light[active] > _BLOCKED)
        return _Layer(active, render, weights, goes_on, next_start)

    def _skip(self, rays: Rays, reached: Tensor) -> tuple[Tensor, Tensor]:
        """Follow rays from ``reached`` [R] to the next kept space: its distance, and if found."""
        grid = self._volume.grid
        points = rays.origins + rays.directions * reached[:, None]
        step = cell_size(grid, grid.bounds.to_unit(points)).clamp_min(1e-6)
        ahead = torch.arange(1, _STEPS + 1, device=step.device) * step[:, None]
        distances = reached[:, None] + ahead
        positions = rays.origins[:, None] + rays.directions[:, None] * distances[..., None]
        kept = self._volume.share_at(positions).to(distances) > 0.5
        if self._keep == "rest":
            kept = ~kept
        first = kept.float().argmax(dim=-1, keepdim=True)
        return distances.gather(-1, first)[:, 0], kept.any(dim=-1)


@dataclass(frozen=True)
class _Layer:
    """One rendering of the rays ``active`` [A]; the other tensors [R] are over all rays."""

    active: Tensor
    render: FieldRender
    weights: Tensor
    goes_on: Tensor
    next_start: Tensor


def _together(rays: Rays, layers: list[_Layer], light: Tensor, behind: Tensor) -> FieldRender:
    """All layers' samples side by side; rays a layer did not touch are padded with weight 0."""
    num_rays = len(rays)
    positions, weights, colors = [], [], []
    for layer in layers:
        samples = layer.weights.shape[-1]
        at = rays.origins[:, None].expand(-1, samples, -1).clone()
        at[layer.active] = layer.render.positions.to(at)
        weight = light.new_zeros((num_rays, samples))
        weight[layer.active] = layer.weights
        assert layer.render.sample_rgb is not None
        color = light.new_zeros((num_rays, samples, 3))
        color[layer.active] = layer.render.sample_rgb
        positions.append(at)
        weights.append(weight)
        colors.append(color)
    weight, position, color = torch.cat(weights, 1), torch.cat(positions, 1), torch.cat(colors, 1)
    rgb = (weight[..., None] * color).sum(dim=1) + light[:, None] * behind
    half = weight.cumsum(dim=-1) >= 0.5
    median = _along(rays, position).gather(-1, half.float().argmax(-1, keepdim=True))[:, 0]
    return FieldRender(
        rgb=rgb.clamp(0, 1),
        depth=torch.where(half.any(dim=-1), median, FAR),
        accumulation=weight.sum(dim=-1).clamp_max(1),
        positions=position,
        weights=weight,
        sample_rgb=color,
    )


def _along(rays: Rays, positions: Tensor) -> Tensor:
    """Distance of positions [R, S, 3] along their rays, [R, S]."""
    offset = positions - rays.origins[:, None]
    return (offset * rays.directions[:, None]).sum(dim=-1)


def _behind(render: FieldRender) -> Tensor:
    """The color [R, 3] a field shows behind its last sample, that sample's own if it is opaque."""
    assert render.sample_rgb is not None
    missing = 1 - render.accumulation
    inside = (render.weights[..., None] * render.sample_rgb).sum(dim=-2)
    shown = (render.rgb - inside) / missing.clamp_min(1e-3)[:, None]
    return torch.where(missing[:, None] > 0.02, shown.clamp(0, 1), render.sample_rgb[:, -1])


def _world_box(volume: ObjectVolume) -> tuple[Tensor, Tensor]:
    """Corners [3], [3] of an axis-aligned world box around the volume's block."""
    side = torch.linspace(0, 1, 9, device=volume.corner.device)
    lattice = torch.cartesian_prod(side, side, side)
    shape = torch.tensor(volume.share.shape, device=side.device)
    world = volume.grid.bounds.to_world((lattice * shape + volume.corner) / volume.grid.resolution)
    return world.amin(dim=0), world.amax(dim=0)
