"""The field of TensoRF: density and color are products of planes and lines in the scene box."""

from __future__ import annotations

import torch
from nerfstudio.cameras.rays import Frustums, RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.models.tensorf import TensoRFModel
from nerfstudio.utils import colors
from torch import Tensor

from nerfstudio_plugin.fields.model_field import Keep, ModelField, bounds_of, kept_density
from sa3d.geometry.bounds import Bounds

_LEAST_LIGHT = 1e-4
"""Rays with less accumulation in the first pass are not evaluated: ``TensoRFModel.get_outputs``."""


class TensorfRadianceField(ModelField[TensoRFModel]):
    """A frozen TensoRF, with any of its encodings.

    Samples, weights, colors and depth (the median) are those of the second pass. Rays that meet
    (almost) no density in the first pass are empty and white, as the model itself renders them.
    """

    rendering_options = (
        "appearance_dim",
        "background_color",
        "enable_collider",
        "num_samples",
        "num_uniform_samples",
        "tensorf_encoding",
    )

    def find_bounds(self) -> Bounds:
        """Return the box of the planes and lines; there is no density outside."""
        return bounds_of(None, self.model.field.aabb)

    def sample(self, bundle: RayBundle, keep: Keep | None) -> tuple[RaySamples, Tensor, Tensor]:
        """Sample evenly, then by the density that was found."""
        model = self.model
        even = model.sampler_uniform(bundle)
        weights = even.get_weights(kept_density(model.field.get_density(even), even, keep))
        lit = model.renderer_accumulation(weights)[..., 0] >= _LEAST_LIGHT
        samples = model.sampler_pdf(bundle, even, weights)
        outputs = model.field(samples, mask=lit, bg_color=colors.WHITE.to(self.device))
        density = kept_density(outputs[FieldHeadNames.DENSITY].detach(), samples, keep)
        return samples, samples.get_weights(density), outputs[FieldHeadNames.RGB].detach()

    def density_fn(self, positions_world: Tensor) -> Tensor:
        """Return the density of the planes and lines."""
        nowhere = torch.zeros_like(positions_world[None])
        points = RaySamples(
            Frustums(
                origins=positions_world[None],
                directions=nowhere,
                starts=nowhere[..., :1],
                ends=nowhere[..., :1],
                pixel_area=nowhere[..., :1],
            )
        )
        return self.model.field.get_density(points)[0, :, 0]
