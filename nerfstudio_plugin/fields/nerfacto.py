"""The field of nerfacto and its variants."""

from __future__ import annotations

from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.models.nerfacto import NerfactoModel
from torch import Tensor

from nerfstudio_plugin.fields.model_field import Keep, ModelField, bounds_of, kept_density, scaled
from sa3d.geometry.bounds import Bounds


class NerfactoRadianceField(ModelField[NerfactoModel]):
    """A frozen nerfacto model.

    Rays start at the camera (Nerfstudio drops the near plane outside training) and end at the
    model's far plane. Depth is nerfacto's ``depth`` output, the *median*: the distance at which
    half of the ray's light is accumulated. Unlike the expected depth it never lies in the air
    between two surfaces. Colors use the mean appearance embedding, as nerfacto's own evaluation
    does, so the camera index has no influence.
    """

    rendering_options = (
        "average_init_density",
        "background_color",
        "base_res",
        "disable_scene_contraction",
        "far_plane",
        "features_per_level",
        "implementation",
        "log2_hashmap_size",
        "max_res",
        "num_levels",
        "num_nerf_samples_per_ray",
        "num_proposal_iterations",
        "num_proposal_samples_per_ray",
        "proposal_initial_sampler",
        "proposal_net_args_list",
        "use_average_appearance_embedding",
        "use_same_proposal_network",
    )

    def find_bounds(self) -> Bounds:
        """Return the space of nerfacto's hash grid.

        With scene contraction the model contracts world positions to [-2, 2]^3 and ignores its
        scene box. Without it, the box is the space, and there is no density outside.
        """
        return bounds_of(self.model.field.spatial_distortion, self.model.field.aabb)

    def sample(self, bundle: RayBundle, keep: Keep | None) -> tuple[RaySamples, Tensor, Tensor]:
        """Sample by the proposal networks."""
        model = self.model
        density_fns = [scaled(density_fn, keep) for density_fn in model.density_fns]
        samples, _, _ = model.proposal_sampler(bundle, density_fns=density_fns)
        density, features = model.field.get_density(samples)
        weights = samples.get_weights(kept_density(density, samples, keep))
        colors = model.field.get_outputs(samples, density_embedding=features)[FieldHeadNames.RGB]
        return samples, weights, colors

    def density_fn(self, positions_world: Tensor) -> Tensor:
        """Return the density of the field."""
        return self.model.field.density_fn(positions_world)[..., 0]
