from dataclasses import replace

import pytest
import torch
from field_checks import (
    AABB,
    build,
    camera,
    check_chunks,
    check_fingerprint,
    check_keep,
    check_renders_as_the_model,
)
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.models.tensorf import TensoRFModelConfig

from nerfstudio_plugin.fields.tensorf import TensorfRadianceField

SMALL = TensoRFModelConfig(
    init_resolution=12,
    num_den_components=4,
    num_color_components=6,
    appearance_dim=5,
    num_samples=12,
    num_uniform_samples=16,
    eval_num_rays_per_chunk=64,
    camera_optimizer=CameraOptimizerConfig(mode="off"),
)
VARIANTS = {
    "vm": SMALL,
    "cp": replace(SMALL, tensorf_encoding="cp"),
    "triplane": replace(SMALL, tensorf_encoding="triplane"),
    "black": replace(SMALL, background_color="black"),
    "moved cameras": replace(SMALL, camera_optimizer=CameraOptimizerConfig(mode="SO3xR3")),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_renders_what_the_model_renders(name):
    check_renders_as_the_model(TensorfRadianceField, build(VARIANTS[name], std=0.8))


def test_chunks_do_not_matter():
    check_chunks(TensorfRadianceField, build(SMALL))


def test_only_what_is_kept_has_density():
    check_keep(TensorfRadianceField, build(SMALL))


def test_rays_that_meet_nothing_are_empty():
    field = TensorfRadianceField(build(SMALL))
    rays = camera(60, 40).image_rays()
    render = field.render(rays)
    empty = render.accumulation == 0
    assert 0.1 < empty.float().mean() < 0.95
    assert (render.rgb[empty] == 1).all()
    skipped = (render.sample_rgb == 1).flatten(1).all(-1)
    assert skipped.any()
    assert empty[skipped].all()


def test_bounds_are_the_box_and_there_is_nothing_outside():
    field = TensorfRadianceField(build(SMALL))
    torch.testing.assert_close(torch.tensor(field.bounds.aabb), AABB)
    assert field.bounds.kind == "box"
    outside = AABB[1] + torch.rand(50, 3) + 0.4
    assert torch.equal(field.density(outside), torch.zeros(50))
    lit = field.render(camera(60, 40).image_rays())
    unit = field.bounds.to_unit(lit.positions[lit.weights > 0])
    assert ((unit > -1e-4) & (unit < 1 + 1e-4)).all()


def test_density_is_that_of_the_samples():
    field = TensorfRadianceField(build(SMALL))
    bundle = camera().image_rays()
    seen = []
    field.model.sampler_pdf.register_forward_hook(lambda _, __, samples: seen.append(samples))
    field.render(bundle)
    (samples,) = seen
    expected = field.model.field.get_density(samples)[..., 0].detach()
    positions = samples.frustums.get_positions()
    density = field.density(positions.reshape(-1, 3)).reshape(expected.shape)
    assert expected.std() > 1e-2
    torch.testing.assert_close(density, expected)


def test_fingerprint_tells_fields_apart():
    check_fingerprint(
        TensorfRadianceField,
        build,
        [SMALL, replace(SMALL, num_samples=13), replace(SMALL, tensorf_encoding="cp")],
        replace(SMALL, regularization="none", upsampling_iters=(5, 6), final_resolution=30),
    )
