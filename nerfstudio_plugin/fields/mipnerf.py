"""The field of mip-NeRF: one network, evaluated on cones instead of rays."""

from __future__ import annotations

import torch
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.fields.vanilla_nerf_field import NeRFField
from nerfstudio.models.mipnerf import MipNerfModel
from torch import Tensor

from nerfstudio_plugin.fields.model_field import Keep, ModelField
from nerfstudio_plugin.fields.vanilla_nerf import NERF_OPTIONS, around_box, sample_twice
from sa3d.geometry.bounds import Bounds


class MipNerfRadianceField(ModelField[MipNerfModel]):
    """A frozen mip-NeRF.

    Samples, weights, colors and depth (the median) are those of the second pass. A ray is the cone
    through its pixel (``Rays.pixel_area``), so a view at a lower resolution is rendered from
    wider cones: smoothed, not aliased. Rays that no camera made are as narrow as those of a photo
    with 1000 pixels per radian.
    """

    rendering_options = NERF_OPTIONS

    def find_bounds(self) -> Bounds:
        """Return all of space, with the scene box as its uncontracted part: see ``around_box``."""
        return around_box(self.model)

    def sample(self, bundle: RayBundle, keep: Keep | None) -> tuple[RaySamples, Tensor, Tensor]:
        """Sample by the density of the first pass."""
        field = self._network
        return sample_twice(self.model, field, field, bundle, keep)

    def density_fn(self, positions_world: Tensor) -> Tensor:
        """Return the density of round blobs at the positions, as wide as a coarse sample is long.

        The network has no density of points: training damps the frequencies that are finer than a
        sample, and never sets their weights. At points they would be noise.
        """
        planes, field = self.model.config.collider_params, self._network
        assert planes is not None
        length = (planes["far_plane"] - planes["near_plane"]) / self.model.config.num_coarse_samples
        spread = torch.eye(3, device=positions_world.device) * length**2 / 12
        blobs = spread.expand(*positions_world.shape, 3)
        features = field.mlp_base(field.position_encoding(positions_world, covs=blobs))
        return field.field_output_density(features)[..., 0]

    @property
    def _network(self) -> NeRFField:
        assert isinstance(self.model.field, NeRFField)
        return self.model.field
