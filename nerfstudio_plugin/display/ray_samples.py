"""Rays that a NeRF rendered once, kept so that pictures can be made of them again and again."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.display.shown_objects import ShownObjects
from sa3d.fields.radiance_field import FieldRender
from sa3d.results.object_volume import ObjectVolume
from sa3d.scene.elements import Elements

_LEAST_LIGHT = 1e-6
"""Below this share of a ray's light left, opacities are rounding errors."""


@dataclass
class RaySamples:
    """R rays with S samples each, from near to far.

    Attributes:
        pixels: int64 [R], where they belong in the picture, row by row.
        origins, directions: [R, 3], world, unit length.
        rgb: [R, 3] in [0, 1].
        depth: [R], world units along the ray.
        accumulation: [R] in [0, 1].
        distances: [R, S], world units along the ray.
        weights: [R, S], rendering weights.
        colors: uint8 [R, S, 3] of the samples.
    """

    pixels: Tensor
    origins: Tensor
    directions: Tensor
    rgb: Tensor
    depth: Tensor
    accumulation: Tensor
    distances: Tensor
    weights: Tensor
    colors: Tensor
    _slots: tuple[Elements, Tensor] | None = field(default=None, repr=False)
    _solid: tuple[list[ObjectVolume], Tensor] | None = field(default=None, repr=False)
    _masks: tuple[ShownObjects, tuple[Tensor, Tensor]] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, pixels: Tensor, bundle: RayBundle, render: FieldRender) -> RaySamples:
        """What a field rendered of these rays; it must tell its samples' colors."""
        assert render.sample_rgb is not None
        away = render.positions - bundle.origins[:, None]
        return cls(
            pixels=pixels,
            origins=bundle.origins,
            directions=bundle.directions,
            rgb=render.rgb,
            depth=render.depth,
            accumulation=render.accumulation,
            distances=(away * bundle.directions[:, None]).sum(dim=-1),
            weights=render.weights,
            colors=(render.sample_rgb * 255).round().to(torch.uint8),
        )

    def __len__(self) -> int:
        return self.pixels.shape[0]

    @property
    def size_bytes(self) -> int:
        """Memory these samples take once masks have been made of them."""
        samples = self.distances.numel()
        return samples * (19 if self._solid else 15) + len(self) * 100

    @property
    def positions(self) -> Tensor:
        """Of the samples, [R, S, 3], world."""
        return self.origins[:, None] + self.distances[..., None] * self.directions[:, None]

    def masks_and_votes(self, shown: ShownObjects) -> tuple[Tensor, Tensor]:
        """See ``ShownObjects.masks_and_votes``; found once, both [R, K]."""
        if self._masks is None or self._masks[0] is not shown:
            slots = self._slots_in(shown.elements)
            self._masks = shown, shown.masks_and_votes(slots, self.weights)
        return self._masks[1]

    def _slots_in(self, elements: Elements) -> Tensor:
        if self._slots is None or self._slots[0] is not elements:
            slots = elements.find(elements.grid.keys(self.positions)).to(torch.int32)
            self._slots = elements, slots
        return self._slots[1]

    def shares(self, shown: ShownObjects) -> Tensor:
        """Evidence shares of the elements the samples lie in, [R, S, K]; 0 outside."""
        slots = self._slots_in(shown.elements).long()
        return torch.where((slots >= 0)[..., None], shown.shares[slots.clamp_min(0)], 0.0)

    def solid_share(self, solid: Blocks) -> Tensor:
        """See ``Blocks.share_at``; [R, S], found once, whatever the cut."""
        volumes = [block.volume for block in solid.parts]
        if self._solid is None or list(map(id, self._solid[0])) != list(map(id, volumes)):
            self._solid = volumes, solid.share_at(self.positions)
        return self._solid[1]

    def without(self, left_out: Tensor, background: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The same rays with some samples made transparent: rgb [R, 3], depth, accumulation [R].

        Opacities come back from the weights, ``alpha_j = w_j / (1 - sum_{i<j} w_i)``; they are
        known as far as light gets, so nothing appears behind what was opaque.

        Args:
            left_out: the samples that become transparent, bool [R, S].
            background: [3] in [0, 1]; None takes the last sample's color.
        """
        before = 1 - (self.weights.cumsum(dim=-1) - self.weights)
        alphas = (self.weights / before.clamp_min(_LEAST_LIGHT)).clamp(0, 1)
        alphas = torch.where(left_out | (before < _LEAST_LIGHT), 0.0, alphas)
        passed = torch.cumprod(1 - alphas, dim=-1)
        weights = alphas * torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=-1)
        accumulation = weights.sum(dim=-1)
        colors = self.colors.to(weights) / 255
        behind = colors[:, -1] if background is None else background
        rgb = (weights[..., None] * colors).sum(dim=-2) + (1 - accumulation[:, None]) * behind
        half = (weights.cumsum(dim=-1) < 0.5).sum(dim=-1).clamp_max(weights.shape[-1] - 1)
        depth = self.distances.gather(1, half[:, None])[:, 0]
        return rgb.clamp(0, 1), depth, accumulation
