from dataclasses import replace

import pytest
import torch
from field_checks import (
    AABB,
    build,
    check_chunks,
    check_fingerprint,
    check_keep,
    check_renders_as_the_model,
)
from nerfstudio.models.vanilla_nerf import NeRFModel, VanillaModelConfig

from nerfstudio_plugin.fields.vanilla_nerf import VanillaNerfRadianceField
from sa3d.base.errors import SA3DError

SMALL = VanillaModelConfig(
    _target=NeRFModel,
    num_coarse_samples=8,
    num_importance_samples=12,
    eval_num_rays_per_chunk=64,
    collider_params={"near_plane": 0.5, "far_plane": 4.0},
)


def made(config=SMALL):
    return build(config, std=0.11)


@pytest.mark.parametrize("background", ["white", "black", "last_sample", "random"])
def test_renders_what_the_model_renders(background):
    model = made(replace(SMALL, background_color=background))
    check_renders_as_the_model(VanillaNerfRadianceField, model, "_fine")


def test_chunks_do_not_matter():
    check_chunks(VanillaNerfRadianceField, made())


def test_only_what_is_kept_has_density():
    check_keep(VanillaNerfRadianceField, made(), "_fine")


def test_the_space_goes_on_beyond_the_box():
    model = made()
    (low, high), bounds = AABB, VanillaNerfRadianceField(model).bounds
    assert bounds.kind == "contracted"
    corners = bounds.to_unit(torch.stack([low, high]))
    torch.testing.assert_close(corners, torch.tensor([[0.25] * 3, [0.75] * 3]))
    far = bounds.to_unit(torch.tensor([[0.0, 0.0, -4.0]]))  # rays go on beyond the box
    assert ((far > 0) & (far < 1)).all()


def test_density_is_that_of_the_fine_network():
    model = made()
    positions = torch.rand(50, 3) - 0.5
    density = VanillaNerfRadianceField(model).density(positions)
    assert density.std() > 1e-2
    torch.testing.assert_close(density, model.field_fine.density_fn(positions)[:, 0].detach())


def test_fingerprint_tells_fields_apart():
    check_fingerprint(
        VanillaNerfRadianceField,
        made,
        [
            SMALL,
            replace(SMALL, num_coarse_samples=9),
            replace(SMALL, num_importance_samples=13),
            replace(SMALL, collider_params={"near_plane": 0.5, "far_plane": 5.0}),
        ],
        replace(SMALL, use_gradient_scaling=True, eval_num_rays_per_chunk=7),
    )


def test_scenes_that_move_are_refused():
    with pytest.raises(SA3DError, match=r"moves with time .*dnerf"):
        VanillaNerfRadianceField(made(replace(SMALL, enable_temporal_distortion=True)))
