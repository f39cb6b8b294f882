"""instant-ngp needs CUDA to be trained and rendered by Nerfstudio.

Here its models have random weights and a random occupancy grid; they are compared with a march
along single rays, and on a GPU with the model's own rendering.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.models.instant_ngp import InstantNGPModelConfig

from nerfstudio_plugin.fields.instant_ngp import InstantNgpRadianceField, _steps, _steps_to
from nerfstudio_plugin.runs.cameras import to_nerfstudio
from nerfstudio_plugin.runs.model_building import build_model, tcnn_modules, without_lpips
from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera, Rays
from sa3d.testing.field_contract import check_radiance_field

BOX = SceneBox(torch.tensor([[-1.0, -1.5, -0.5], [1.0, 1.5, 0.75]]))
SMALL = InstantNGPModelConfig(
    grid_resolution=16,
    grid_levels=3,
    log2_hashmap_size=9,
    max_res=64,
    render_step_size=0.05,
    cone_angle=0.02,
    background_color="white",
)
VARIANTS = {
    "default": SMALL,
    "bounded": replace(
        SMALL, grid_levels=1, cone_angle=0.0, disable_scene_contraction=True, near_plane=0.01
    ),
    "far plane": replace(SMALL, far_plane=2.5),
}
CPU = torch.device("cpu")


def build(config=SMALL, seed=0, implementation="tcnn"):
    torch.manual_seed(seed)
    with without_lpips(), tcnn_modules(implementation, "torch", CPU):
        model = deepcopy(config).setup(
            scene_box=BOX, num_train_data=3, metadata={}, device="cpu", grad_scaler=None
        )
    for parameter in model.field.parameters():
        torch.nn.init.normal_(parameter, std=0.5) if parameter.numel() else None
    grid = model.occupancy_grid
    grid.binaries = torch.rand(grid.binaries.shape) < 0.4
    grid.occs = grid.binaries.flatten().float()
    return model.eval()


def camera(width=9, height=7):
    pose = torch.eye(4)[:3]
    pose[:, 3] = torch.tensor([0.1, -0.2, 1.1])
    return Camera(pose, 9.0, 9.0, 4.5, 3.5, width, height)


def march(model, origin, direction):
    """One ray, step by step: middles of the steps in occupied cells, and their sizes."""
    config, grid = model.config, model.occupancy_grid
    boxes = [box.view(2, 3).numpy().astype(np.float64) for box in grid.aabbs]
    t, found = np.float32(config.near_plane), []
    while t < 30.0:
        dt = max(t * np.float32(config.cone_angle), np.float32(config.render_step_size))
        if t + dt / 2 >= config.far_plane:
            break
        at = origin + direction * np.float64(t + (t + dt - t) / 2)
        for level, (low, high) in enumerate(boxes):  # from the finest on
            if (at > low).all() and (at < high).all():
                cell = ((at - low) / (high - low) * grid.resolution.numpy()).astype(int)
                if grid.binaries[(level, *cell)]:
                    found.append((t, t + dt))
                break
        t = t + dt
    return np.array(found, np.float32).reshape(-1, 2)


@pytest.mark.parametrize("name", VARIANTS)
def test_samples_and_weights_are_those_of_a_march(name):
    model = build(VARIANTS[name])
    field = InstantNgpRadianceField(model, rays_per_chunk=20)
    rays = camera().image_rays()
    render = field.render(rays)
    counts = []
    for number in range(len(rays)):
        origin, direction = rays.origins[number], rays.directions[number]
        steps = march(model, origin.numpy().astype(float), direction.numpy().astype(float))
        counts.append(len(steps))
        middle = torch.from_numpy(steps.mean(1))
        if not len(steps):
            assert render.accumulation[number] == 0
            continue
        places = origin + direction * middle[:, None]
        density = model.field.density_fn(places)[:, 0]
        alpha = 1 - torch.exp(-density * torch.from_numpy(steps[:, 1] - steps[:, 0]))
        light = torch.cumprod(torch.cat([torch.ones(1), 1 - alpha[:-1]]), 0)
        weights = (light * alpha).detach()
        torch.testing.assert_close(
            render.weights[number, : len(steps)], weights, atol=1e-5, rtol=1e-4
        )
        assert (render.weights[number, len(steps) :] == 0).all()
        torch.testing.assert_close(
            render.positions[number, : len(steps)], places, atol=1e-5, rtol=1e-5
        )
        expected = (weights * middle).sum() / weights.sum().clamp_min(1e-10)
        if weights.sum() > 0.1:
            torch.testing.assert_close(render.depth[number], expected, atol=1e-4, rtol=1e-4)
        colors = render.sample_rgb[number, : len(steps)]
        rgb = (weights[:, None] * colors).sum(0) + (1 - weights.sum())
        torch.testing.assert_close(render.rgb[number], rgb.clamp(0, 1), atol=1e-4, rtol=1e-4)
    assert len(set(counts)) > 3, "rays should have different numbers of samples"
    assert render.accumulation.std() > 1e-3


def test_colors_are_those_of_the_field():
    model = build()
    render = InstantNgpRadianceField(model).render(camera().image_rays())
    lit = (render.weights > 1e-3).nonzero()[::7]
    rays = camera().image_rays()
    assert len(lit) > 10
    with torch.no_grad():
        for ray, sample in lit.tolist():
            bundle = RayBundle(
                origins=render.positions[ray, sample][None],
                directions=rays.directions[ray][None],
                pixel_area=torch.ones(1, 1),
                camera_indices=torch.zeros(1, 1, dtype=torch.long),
            )
            zero = torch.zeros(1, 1, 1)
            outputs = model.field(bundle.get_ray_samples(bin_starts=zero, bin_ends=zero))
            torch.testing.assert_close(
                outputs[FieldHeadNames.RGB][0, 0], render.sample_rgb[ray, sample],
                atol=1e-4, rtol=1e-4,
            )  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_it_keeps_the_contract(name):
    check_radiance_field(InstantNgpRadianceField(build(VARIANTS[name])), camera().image_rays())


def test_what_is_cut_away_lets_light_through():
    field = InstantNgpRadianceField(build())
    bundle = to_nerfstudio(camera()).generate_rays(0).flatten()
    whole = field.render_bundle(bundle)
    same = field.render_bundle(bundle, lambda x: torch.ones_like(x[..., 0]))
    assert torch.equal(whole.weights, same.weights)
    half = field.render_bundle(bundle, lambda x: (x[..., 0] > 0).float())
    assert (half.weights[half.positions[..., 0] <= 0] == 0).all()
    right = half.positions[..., 0] > 0
    assert (half.weights[right] >= whole.weights[right] - 1e-6).all()
    assert half.weights.sum() > 0


def test_density_is_0_in_empty_cells():
    model = build()
    field = InstantNgpRadianceField(model)
    points = (torch.rand(500, 3) - 0.5) * 20
    density = field.density(points)
    reach = model.occupancy_grid.aabbs[-1]
    outside = ((points < reach[:3]) | (points > reach[3:])).any(dim=1)
    assert outside.any()
    assert (density[outside] == 0).all()
    model.occupancy_grid.binaries[:] = True
    inside = ~outside
    torch.testing.assert_close(
        field.density(points)[inside], model.field.density_fn(points)[inside, 0]
    )
    model.occupancy_grid.binaries[:] = False
    assert (field.density(points) == 0).all()


def test_a_ray_that_meets_nothing():
    model = build()
    model.occupancy_grid.binaries[:] = False
    render = InstantNgpRadianceField(model).render(camera().image_rays())
    assert (render.accumulation == 0).all()
    assert (render.rgb == 1).all()
    far_away = Rays(torch.full((2, 3), 1e4), torch.tensor([[0.0, 0.0, 1.0]] * 2))
    assert (InstantNgpRadianceField(build()).render(far_away).accumulation == 0).all()


def test_steps_by_hand():
    assert _steps(0.5, 1.0, 0.25, 0.5).tolist() == [0.5, 0.75, 1.125]
    assert _steps_to(0.9, 0.5, 0.25, 0.5).tolist() == [0.5, 0.75, 1.125]
    assert _steps_to(0.6, 0.5, 0.25, 0.5).tolist() == [0.5, 0.75]
    assert _steps_to(0.0, 0.5, 0.25, 0.0).tolist() == [0.5, 0.75]


def test_nan_is_refused():
    model = build()
    for parameter in model.field.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(SA3DError, match="NaN"):
        InstantNgpRadianceField(model).render(camera().image_rays())


@pytest.mark.parametrize("implementation", ["tcnn", "torch"])
@pytest.mark.parametrize("has_appearance", [True, False])
def test_weights_say_if_there_is_an_appearance(implementation, has_appearance):
    """Nerfstudio before 1.1.5 read the option the right way round."""
    trained = build(
        replace(SMALL, use_appearance_embedding=not has_appearance), implementation=implementation
    )
    weights = trained.state_dict()
    assert ("field.embedding_appearance.embedding.weight" in weights) is has_appearance
    config = replace(SMALL, use_appearance_embedding=has_appearance)
    InstantNgpRadianceField.fit_config(config, weights)
    data = DataparserOutputs([f"{n}.png" for n in range(3)], cameras=None, scene_box=BOX)
    model = build_model(config, weights, data, "auto", CPU)
    ours = InstantNgpRadianceField(model).render(camera().image_rays())
    theirs = InstantNgpRadianceField(trained).render(camera().image_rays())
    assert torch.equal(ours.rgb, theirs.rgb)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kernels", [True, False])
def test_it_renders_what_the_model_renders_on_a_gpu(name, kernels, monkeypatch):
    if not kernels:
        monkeypatch.setattr("nerfstudio_plugin.fields.instant_ngp._has_kernels", lambda: False)
    model = build(VARIANTS[name]).to("cuda")
    ours = InstantNgpRadianceField(model).render(camera().image_rays())
    theirs = model.get_outputs_for_camera(to_nerfstudio(camera()).to("cuda"))
    for part in ("rgb", "accumulation"):
        expected = theirs[part].reshape(getattr(ours, part).shape)
        torch.testing.assert_close(getattr(ours, part), expected, atol=1e-3, rtol=1e-3)
