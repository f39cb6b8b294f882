"""A radiance field with one object cut out: the object alone, or the scene without it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender, RadianceField
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays
from sa3d.results.config import Keep
from sa3d.results.object_volume import ObjectVolume, cell_size

FAR = 1e6
"""Depth, in world units, of a ray that hits nothing."""

_BLOCKED = 0.02
"""Below this transmittance the samples of a field are not meaningful any more."""
_STEPS = 160
"""Number of voxels over which a ray in removed space is followed to the next kept space."""


class MaskedField:
    """A radiance field that shows only an object of another field, or everything but the object.

    The opacity of each sample, ``alpha_j = w_j / T_j``, is multiplied by the kept share at its
    position, and the weights are computed again, ``w'_j = alpha'_j prod_{k<j} (1 - alpha'_k)``. A
    NeRF places no samples behind the first opaque surface. Where that surface is cut away, the
    field is therefore rendered again, from the place where the ray enters kept space.

    The background is white around an object alone, and that of the field otherwise.

    Args:
        field: renders with colors per sample (``sample_rgb``).
        volume: the object.
        keep: ``"object"``, or ``"rest"`` for everything else.
        soft: scale opacities by the share, instead of cutting at a share of 0.5.
        layers: number of times that a ray is rendered, at most.

    Example:
        >>> volume = object_volume(scene, segmentation, "mug")
        >>> without_mug = MaskedField(scene.field, volume, "rest").render(rays)
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
            SA3DError: the field does not return colors per sample.
        """
        start, active = self._first_start(rays)
        light = torch.ones(len(rays), device=rays.origins.device)
        behind = torch.ones(len(rays), 3, device=rays.origins.device)
        layers = [self._layer(rays, start, active, light, behind, camera_index)]
        while len(layers) < self._layers and layers[-1].continues.any():
            active = torch.nonzero(layers[-1].continues)[:, 0]
            start = layers[-1].next_start
            layers.append(self._layer(rays, start, active, light, behind, camera_index))
        return _joined(rays, layers, light, behind)

    def _kept(self, positions: Tensor) -> Tensor:
        share = self._volume.share_at(positions)
        if not self._soft:
            share = (share > 0.5).to(share)
        return share if self._keep == "object" else 1 - share

    def _first_start(self, rays: Rays) -> tuple[Tensor, Tensor]:
        """Return the distance [R] at which each ray starts, and the indices of rays to render."""
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
        """Render the active rays from ``start``; reduce ``light`` [R] accordingly."""
        origins, directions = rays.origins[active], rays.directions[active]
        moved = replace(rays[active], origins=origins + directions * start[active, None])
        render = self._field.render(moved, camera_index)
        if render.sample_rgb is None:
            raise SA3DError("this field returns no colors per sample: an object cannot be cut out")
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
        continues = torch.zeros_like(start, dtype=torch.bool)
        next_start = start.clone()
        reached = start[active] + cut.amax(dim=-1).clamp_min(0)
        next_start[active], found = self._skip(Rays(origins, directions), reached)
        continues[active] = opaque & found & (light[active] > _BLOCKED)
        return _Layer(active, render, weights, continues, next_start)

    def _skip(self, rays: Rays, reached: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance [R] of the next kept space after ``reached`` [R], if any."""
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
    """One rendering of the rays ``active`` [A].

    ``render`` and ``weights`` have A rows. ``continues`` [R] marks the rays, of all rays, that are
    rendered again; ``next_start`` [R] is the distance at which they start then.
    """

    active: Tensor
    render: FieldRender
    weights: Tensor
    continues: Tensor
    next_start: Tensor


def _joined(rays: Rays, layers: list[_Layer], light: Tensor, behind: Tensor) -> FieldRender:
    """Join the samples of all layers; rays that a layer did not render get samples of weight 0."""
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
    """Return the distance of positions [R, S, 3] along their rays, [R, S]."""
    offset = positions - rays.origins[:, None]
    return (offset * rays.directions[:, None]).sum(dim=-1)


def _behind(render: FieldRender) -> Tensor:
    """Return the color [R, 3] behind the last sample, or that of the sample if it is opaque."""
    assert render.sample_rgb is not None
    missing = 1 - render.accumulation
    inside = (render.weights[..., None] * render.sample_rgb).sum(dim=-2)
    shown = (render.rgb - inside) / missing.clamp_min(1e-3)[:, None]
    return torch.where(missing[:, None] > 0.02, shown.clamp(0, 1), render.sample_rgb[:, -1])


def _world_box(volume: ObjectVolume) -> tuple[Tensor, Tensor]:
    """Return the corners [3], [3] of an axis-aligned world box around the volume's block."""
    side = torch.linspace(0, 1, 9, device=volume.corner.device)
    lattice = torch.cartesian_prod(side, side, side)
    shape = torch.tensor(volume.share.shape, device=side.device)
    world = volume.grid.bounds.to_world((lattice * shape + volume.corner) / volume.grid.resolution)
    return world.amin(dim=0), world.amax(dim=0)
