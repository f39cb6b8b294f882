from dataclasses import replace

import pytest
import torch
from field_checks import AABB, build, camera, check_chunks, check_keep, check_renders_as_the_model
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.models.nerfacto import NerfactoModelConfig

from nerfstudio_plugin.fields.nerfacto import NerfactoRadianceField
from nerfstudio_plugin.runs.cameras import to_nerfstudio
from nerfstudio_plugin.runs.opening import open_run
from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Rays

SMALL = NerfactoModelConfig(
    num_levels=4,
    log2_hashmap_size=10,
    max_res=64,
    num_nerf_samples_per_ray=12,
    num_proposal_samples_per_ray=(16, 14),
    hidden_dim=16,
    hidden_dim_color=16,
    appearance_embed_dim=4,
    implementation="torch",
    average_init_density=0.03,
    eval_num_rays_per_chunk=64,
    camera_optimizer=CameraOptimizerConfig(mode="off"),
    proposal_net_args_list=[
        {"hidden_dim": 8, "log2_hashmap_size": 8, "num_levels": 3, "max_res": 32}
    ],
)
VARIANTS = {
    "default": SMALL,
    "boxed": replace(SMALL, disable_scene_contraction=True, far_plane=6.0),
    "white": replace(SMALL, background_color="white", disable_scene_contraction=True),
    "random": replace(SMALL, background_color="random"),
    "uniform": replace(SMALL, proposal_initial_sampler="uniform", far_plane=6.0),
    "normals": replace(SMALL, predict_normals=True),
    "no appearance": replace(SMALL, use_appearance_embedding=False),
    "one proposal": replace(SMALL, use_same_proposal_network=True),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_renders_what_the_model_renders(name):
    check_renders_as_the_model(NerfactoRadianceField, build(VARIANTS[name]))


@pytest.mark.parametrize("name", ["default", "boxed"])
def test_only_what_is_kept_has_density(name):
    check_keep(NerfactoRadianceField, build(VARIANTS[name]))


def test_weights_and_positions_belong_together():
    rays = camera().image_rays()
    field = NerfactoRadianceField(build(SMALL))
    rendered = field.render(rays)
    assert rendered.positions.shape == (*rendered.weights.shape, 3)
    torch.testing.assert_close(rendered.weights.sum(-1), rendered.accumulation)
    along = rendered.positions - rays.origins[:, None]
    distance = (along * rays.directions[:, None]).sum(-1)
    torch.testing.assert_close(distance[..., None] * rays.directions[:, None], along)
    median = (rendered.weights.cumsum(-1) < 0.5).sum(-1).clamp(max=distance.shape[1] - 1)
    torch.testing.assert_close(distance.gather(1, median[:, None])[:, 0], rendered.depth)


def test_chunks_do_not_matter():
    check_chunks(NerfactoRadianceField, build(SMALL))


def test_rendering_is_deterministic_and_leaves_no_graph():
    model = build(SMALL)
    field, rays = NerfactoRadianceField(model), camera().image_rays()
    first, second = field.render(rays), field.render(rays, camera_index=2)
    assert torch.equal(first.weights, second.weights)
    assert torch.equal(first.rgb, second.rgb)
    assert not first.weights.requires_grad
    (first.weights * torch.ones((), requires_grad=True)).sum().backward()  # usable in autograd


def test_rendering_is_the_same_with_any_number_of_threads():
    field, rays = NerfactoRadianceField(build(SMALL)), camera(40, 30).image_rays()
    before, renders = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            renders.append(field.render(rays))
    finally:
        torch.set_num_threads(before)
    for other in renders[1:]:  # all that an operator is made of
        for name in ("weights", "positions", "depth", "accumulation"):
            assert torch.equal(getattr(other, name), getattr(renders[0], name)), name
        torch.testing.assert_close(other.rgb, renders[0].rgb, atol=1e-6, rtol=0)  # sigmoids


def test_no_rays_no_result():
    rendered = NerfactoRadianceField(build(SMALL)).render(
        Rays(torch.zeros(0, 3), torch.zeros(0, 3))
    )
    assert rendered.positions.shape == (0, 12, 3)
    assert rendered.rgb.shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "order", "kind"),
    [
        ("default", float("inf"), "contracted"),
        ("default", None, "contracted-l2"),
        ("boxed", None, "box"),
    ],
)
def test_bounds_are_the_hash_grids_own_space(name, order, kind):
    model = build(VARIANTS[name])
    if kind != "box":
        model.field.spatial_distortion = SceneContraction(order=order)
    bounds = NerfactoRadianceField(model).bounds
    assert bounds.kind == kind
    seen = []
    model.field.mlp_base.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    positions = torch.randn(500, 3) * torch.tensor([0.4, 0.5, 0.2])
    if kind == "box":
        positions = positions.clamp(AABB[0] + 0.01, AABB[1] - 0.01)
    else:
        positions = positions * 6
        assert (positions.abs().amax(-1) > 1).float().mean() > 0.3
    model.field.density_fn(positions)
    torch.testing.assert_close(bounds.to_unit(positions), seen[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(bounds.to_world(seen[0]), positions, atol=1e-3, rtol=1e-3)


def test_density_is_that_of_the_model(monkeypatch):
    model = build(VARIANTS["boxed"])
    field = NerfactoRadianceField(model)
    positions = torch.rand(100, 3) - 0.5
    whole = field.density(positions)
    assert whole.shape == (100,)
    assert whole.std() > 1e-2
    torch.testing.assert_close(whole, model.field.density_fn(positions)[:, 0].detach())
    monkeypatch.setattr("nerfstudio_plugin.fields.model_field._POINTS_PER_CHUNK", 7)
    torch.testing.assert_close(field.density(positions), whole)
    assert torch.equal(field.density(torch.full((2, 3), 5.0)), torch.zeros(2))
    assert field.density(torch.zeros(0, 3)).shape == (0,)


def test_diverged_fields_are_refused():
    model = build(SMALL)
    torch.nn.init.constant_(model.field.mlp_base.model[1].layers[1].weight, float("nan"))
    field = NerfactoRadianceField(model)
    with pytest.raises(SA3DError, match="NaN densities"):
        field.render(camera().image_rays())
    with pytest.raises(SA3DError, match="NaN densities"):
        field.density(torch.zeros(1, 3))


def test_fingerprint_tells_fields_apart():
    fingerprint = NerfactoRadianceField(build(SMALL)).fingerprint
    assert fingerprint == NerfactoRadianceField(build(SMALL)).fingerprint
    trained_on = build(SMALL)
    with torch.no_grad():
        trained_on.field.mlp_head.layers[0].bias[0] += 1e-6
    others = [
        NerfactoRadianceField(trained_on).fingerprint,
        NerfactoRadianceField(build(replace(SMALL, far_plane=900.0))).fingerprint,
        NerfactoRadianceField(build(replace(SMALL, num_nerf_samples_per_ray=13))).fingerprint,
    ]
    assert len({fingerprint, *others}) == 4
    training_only = replace(SMALL, distortion_loss_mult=0.5, eval_num_rays_per_chunk=7)
    assert NerfactoRadianceField(build(training_only)).fingerprint == fingerprint


def test_real_runs_render_as_nerfstudio_does(shared_run):
    config, data = shared_run
    run = open_run(config, data=data, device="cpu")
    small = run.views[5].camera.fitted(40)
    ours = run.field.render(small.image_rays())
    theirs = run.model.get_outputs_for_camera(to_nerfstudio(small))
    for part in ("rgb", "depth", "accumulation"):
        expected = theirs[part].reshape(getattr(ours, part).shape)
        # far samples of rays that differ in the last bit may differ by more than the last bit
        close = torch.isclose(getattr(ours, part), expected, atol=1e-4, rtol=1e-4)
        assert close.float().mean() > 0.995, part
