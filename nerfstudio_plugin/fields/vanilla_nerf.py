"""The field of vanilla NeRF: a coarse network places the samples of a fine one."""

from __future__ import annotations

from typing import Any

from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.fields.vanilla_nerf_field import NeRFField
from nerfstudio.models.vanilla_nerf import NeRFModel
from torch import Tensor

from nerfstudio_plugin.fields.model_field import Keep, ModelField, kept_density
from sa3d.base.errors import SA3DError
from sa3d.geometry.bounds import Bounds

NERF_OPTIONS = (
    "background_color",
    "collider_params",
    "enable_collider",
    "num_coarse_samples",
    "num_importance_samples",
)
"""The options of ``VanillaModelConfig`` that change what given weights render."""


class VanillaNerfRadianceField(ModelField[NeRFModel]):
    """A frozen vanilla NeRF.

    Samples, weights, colors and depth (the median) are those of the fine network.

    Raises:
        SA3DError: the scene moves with time (the method dnerf).
    """

    rendering_options = NERF_OPTIONS

    @classmethod
    def check_config(cls, config: Any) -> None:
        """Refuse temporal distortion, as dnerf has it.

        Raises:
            SA3DError: the scene moves with time.
        """
        if config.enable_temporal_distortion:
            raise SA3DError(
                "the scene of this run moves with time (temporal distortion, as in dnerf), and has "
                "no surfaces that all photos show; open a run of a scene that stands still"
            )

    def find_bounds(self) -> Bounds:
        """Return all of space, with the scene box as its uncontracted part: see ``around_box``."""
        return around_box(self.model)

    def sample(self, bundle: RayBundle, keep: Keep | None) -> tuple[RaySamples, Tensor, Tensor]:
        """Sample by the density of the coarse network."""
        coarse, fine = self.model.field_coarse, self.model.field_fine
        assert isinstance(coarse, NeRFField)
        assert isinstance(fine, NeRFField)
        return sample_twice(self.model, coarse, fine, bundle, keep)

    def density_fn(self, positions_world: Tensor) -> Tensor:
        """Return the density of the fine network."""
        assert isinstance(self.model.field_fine, NeRFField)
        return self.model.field_fine.density_fn(positions_world)[..., 0]


def around_box(model: Any) -> Bounds:
    """Return the space of a model whose rays leave its scene box: all of space, contracted.

    Rays run to the far plane, wherever the scene box ends. The box takes the middle of the unit
    cube, half of it along each axis.
    """
    low, high = model.scene_box.aabb.tolist()
    return Bounds("contracted", aabb=(tuple(low), tuple(high)))


def sample_twice(
    model: Any, coarse: NeRFField, fine: NeRFField, bundle: RayBundle, keep: Keep | None
) -> tuple[RaySamples, Tensor, Tensor]:
    """Sample evenly, then by the density of ``coarse``: see ``ModelField.sample``."""
    even = model.sampler_uniform(bundle)
    density, _ = coarse.get_density(even)
    weights = even.get_weights(kept_density(density, even, keep))
    samples = model.sampler_pdf(bundle, even, weights)
    outputs = fine(samples)
    density = kept_density(outputs[FieldHeadNames.DENSITY], samples, keep)
    return samples, samples.get_weights(density), outputs[FieldHeadNames.RGB]
