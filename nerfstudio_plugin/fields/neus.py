"""The fields of neus and neus-facto: surfaces of a signed distance, before a background field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.models.base_surface_model import SurfaceModel
from nerfstudio.models.neus import NeuSModel
from nerfstudio.models.neus_facto import NeuSFactoModel
from torch import Tensor

from nerfstudio_plugin.fields.model_field import (
    Keep,
    ModelField,
    kept_density,
    scaled,
    without_nan,
)
from nerfstudio_plugin.fields.vanilla_nerf import around_box
from sa3d.geometry.bounds import Bounds

_OUTSIDE = 1.0
"""Signed distance where a part was cut away, for the placing of samples; world units."""


class NeusRadianceField(ModelField[SurfaceModel]):
    """A frozen NeuS or NeuS-facto model.

    Samples are those of the surface inside the scene box, then those of the background field behind
    it. Their weights render the model's own color. Depth is the model's, the *expected* distance
    to the surface, along the ray (Nerfstudio's own output is along the camera's axis); where most
    of the light comes from the background, it is that of the background.
    """

    def find_bounds(self) -> Bounds:
        """Return the scene box; with a background field all of space: see ``around_box``."""
        return around_box(self.model) if self._has_background else super().find_bounds()

    @property
    def _has_background(self) -> bool:
        return self.model.config.background_model != "none"

    def sample(self, bundle: RayBundle, keep: Keep | None) -> tuple[RaySamples, Tensor, Tensor]:
        """Sample the surface by the model's sampler, then the background."""
        near = self._surface_samples(bundle, keep)
        outputs = self.model.field(near, return_alphas=True)
        alphas = without_nan(outputs[FieldHeadNames.ALPHA])
        if keep is not None:
            alphas = alphas * keep(near.frustums.get_positions())[..., None]
        weights, light = near.get_weights_and_transmittance_from_alphas(alphas)
        colors = outputs[FieldHeadNames.RGB]
        if not self._has_background:
            return near, weights, colors
        far = self._background_samples(bundle)
        outputs = self._background(far)
        density = kept_density(outputs[FieldHeadNames.DENSITY], far, keep)
        samples = bundle.get_ray_samples(
            bin_starts=torch.cat([near.frustums.starts, far.frustums.starts], dim=1),
            bin_ends=torch.cat([near.frustums.ends, far.frustums.ends], dim=1),
        )
        weights = torch.cat([weights, light[:, -1:] * far.get_weights(density)], dim=1)
        return samples, weights, torch.cat([colors, outputs[FieldHeadNames.RGB]], dim=1)

    def render_color(self, weights: Tensor, colors: Tensor) -> Tensor:
        """Render the surface, then add the background in the light that passes it.

        As in the model, a white backdrop counts twice; the sum is cut off at 1.
        """
        edge = self._surface_count(weights)
        surface = self.model.renderer_rgb(rgb=colors[:, :edge], weights=weights[:, :edge])
        if edge == weights.shape[1]:
            return surface
        passed = 1 - weights[:, :edge].sum(dim=1)
        behind = weights[:, edge:] / passed.clamp_min(1e-7)[:, None]
        background = self.model.renderer_rgb(rgb=colors[:, edge:], weights=behind)
        return (surface + passed * background).clamp(0, 1)

    def render_depth(self, weights: Tensor, samples: RaySamples) -> Tensor:
        """Return the depth of the surface, or of the background where that is brighter."""
        edge = self._surface_count(weights)
        surface = super().render_depth(weights[:, :edge], samples[:, :edge])
        if edge == weights.shape[1]:
            return surface
        background = super().render_depth(weights[:, edge:], samples[:, edge:])
        brighter = weights[:, edge:].sum(dim=1) > weights[:, :edge].sum(dim=1)
        return torch.where(brighter, background, surface)

    def density_fn(self, positions_world: Tensor) -> Tensor:
        """Return the density of a ray that meets the surface at a right angle.

        It is ``s (1 - Phi(s f))`` with the logistic function Phi, the signed distance f and the
        sharpness s: half of s at the surface. Outside the scene box it is that of the background.

        Source: NeuS (Wang et al. 2021), the opaque density of section 3.1 for a right angle.
        """
        field: Any = self.model.field
        distance = field.forward_geonetwork(positions_world)[:, 0]
        sharpness = field.deviation_network.get_variance()
        density = sharpness * torch.sigmoid(-sharpness * distance)
        low, high = self.model.scene_box.aabb.to(positions_world)
        inside = ((positions_world >= low) & (positions_world <= high)).all(dim=-1)
        if not self._has_background:
            return density * inside
        return torch.where(inside, density, self._background.density_fn(positions_world)[..., 0])

    @property
    def _background(self) -> Any:
        return self.model.field_background

    def _surface_count(self, weights: Tensor) -> int:
        behind = self.model.config.num_samples_outside if self._has_background else 0
        return weights.shape[1] - behind

    def _background_samples(self, bundle: RayBundle) -> RaySamples:
        assert bundle.fars is not None
        behind = bundle[:]
        behind.nears = bundle.fars
        behind.fars = torch.full_like(bundle.fars, self.model.config.far_plane_bg)
        return self.model.sampler_bg(behind)

    def _surface_samples(self, bundle: RayBundle, keep: Keep | None) -> RaySamples:
        model = self.model
        if isinstance(model, NeuSFactoModel):
            density_fns = [scaled(density_fn, keep) for density_fn in model.density_fns]
            return model.proposal_sampler(bundle, density_fns=density_fns)[0]
        assert isinstance(model, NeuSModel)
        return model.sampler(bundle, sdf_fn=_cut(model.field.get_sdf, keep))  # pyright: ignore


def _cut(
    sdf_fn: Callable[[RaySamples], Tensor], keep: Keep | None
) -> Callable[[RaySamples], Tensor]:
    """Return a signed distance [..., 1] without the parts that are cut away."""
    if keep is None:
        return sdf_fn

    def cut(samples: RaySamples) -> Tensor:
        kept = keep(samples.frustums.get_start_positions())[..., None]
        return torch.where(kept > 0, sdf_fn(samples), _OUTSIDE)

    return cut
