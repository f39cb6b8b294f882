from dataclasses import replace

import torch
from field_checks import (
    build,
    camera,
    check_chunks,
    check_fingerprint,
    check_keep,
    check_renders_as_the_model,
)
from nerfstudio.models.mipnerf import MipNerfModel
from nerfstudio.models.vanilla_nerf import VanillaModelConfig

from nerfstudio_plugin.fields.mipnerf import MipNerfRadianceField

SMALL = VanillaModelConfig(
    _target=MipNerfModel,
    num_coarse_samples=8,
    num_importance_samples=12,
    eval_num_rays_per_chunk=64,
    collider_params={"near_plane": 0.5, "far_plane": 4.0},
)
LENS = (0.05, -0.02, 0.0, 0.0, 0.001, -0.002)


def made(config=SMALL):
    return build(config, std=0.11)


def test_renders_what_the_model_renders():
    check_renders_as_the_model(MipNerfRadianceField, made(), "_fine")


def test_renders_what_the_model_renders_through_a_lens():
    check_renders_as_the_model(MipNerfRadianceField, made(), "_fine", camera(lens=LENS))


def test_cones_are_as_wide_as_pixels():
    """A ray without its pixel's area is narrow, and differs from one that has it."""
    field, rays = MipNerfRadianceField(made()), camera().image_rays()
    wide, narrow = field.render(rays), field.render(replace(rays, pixel_area=None))
    assert (wide.rgb - narrow.rgb).abs().max() > 1e-2
    given = field.render(replace(rays, pixel_area=torch.full((len(rays),), 1e-6)))
    assert torch.equal(given.rgb, narrow.rgb)


def test_chunks_do_not_matter():
    check_chunks(MipNerfRadianceField, made())


def test_only_what_is_kept_has_density():
    check_keep(MipNerfRadianceField, made(), "_fine")


def test_density_is_that_of_blobs():
    """It is smooth at the size of a sample, although the encoding has much finer frequencies."""
    field = MipNerfRadianceField(made())
    positions = torch.rand(100, 3) - 0.5
    density, beside = field.density(positions), field.density(positions + 1e-4)
    assert density.std() > 1e-2
    assert ((density - beside).abs() < 0.05 * density.std()).all()
    network = field.model.field
    points = network.position_encoding(positions + 1e-4)
    noise = network.field_output_density(network.mlp_base(points))[:, 0] - density
    assert noise.std() > 0.3 * density.std()


def test_the_space_goes_on_beyond_the_box():
    bounds = MipNerfRadianceField(made()).bounds
    assert bounds.kind == "contracted"
    far = bounds.to_unit(torch.tensor([[0.0, 0.0, -4.0]]))
    assert ((far > 0) & (far < 1)).all()


def test_fingerprint_tells_fields_apart():
    check_fingerprint(
        MipNerfRadianceField,
        made,
        [SMALL, replace(SMALL, num_coarse_samples=9), replace(SMALL, background_color="black")],
        replace(SMALL, use_gradient_scaling=True, eval_num_rays_per_chunk=7),
    )
