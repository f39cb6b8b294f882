"""neus and neus-facto cannot be trained by Nerfstudio without tiny-cuda-nn, which their fields use.

Here their models have random weights, in the modules of ``sa3d.tcnn``.
"""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.fields.sdf_field import SDFFieldConfig
from nerfstudio.models.neus import NeuSModelConfig
from nerfstudio.models.neus_facto import NeuSFactoModelConfig

from nerfstudio_plugin.fields.neus import NeusRadianceField
from nerfstudio_plugin.runs.cameras import to_nerfstudio
from nerfstudio_plugin.runs.model_building import tcnn_modules, without_lpips
from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera
from sa3d.testing.field_contract import check_radiance_field

pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")

BOX = SceneBox(torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
SDF = SDFFieldConfig(
    num_layers=2,
    num_layers_color=2,
    hidden_dim=16,
    hidden_dim_color=16,
    geo_feat_dim=8,
    appearance_embedding_dim=4,
    bias=0.5,
    beta_init=0.3,
    inside_outside=False,
    num_levels=3,
    max_res=32,
    base_res=4,
    log2_hashmap_size=8,
)
NEUS = NeuSModelConfig(
    sdf_field=SDF,
    num_samples=16,
    num_samples_importance=16,
    num_samples_outside=8,
    eval_num_rays_per_chunk=32,
)
FACTO = NeuSFactoModelConfig(
    sdf_field=replace(SDF, use_grid_feature=True),
    num_neus_samples_per_ray=24,
    num_proposal_samples_per_ray=(24, 16),
    num_samples_outside=8,
    eval_num_rays_per_chunk=32,
    proposal_net_args_list=[
        {"hidden_dim": 16, "log2_hashmap_size": 8, "num_levels": 3, "max_res": 32}
    ],
)
VARIANTS = {
    "neus": NEUS,
    "neus, no background": replace(NEUS, background_model="none"),
    "neus, white": replace(NEUS, background_color="white"),
    "neus, background of a grid": replace(NEUS, background_model="grid"),
    "neus-facto": FACTO,
    "neus-facto, no background": replace(FACTO, background_model="none"),
}


def build(config=NEUS, seed=0):
    torch.manual_seed(seed)
    with without_lpips(), tcnn_modules("tcnn", "torch", torch.device("cpu")):
        model = deepcopy(config).setup(scene_box=BOX, num_train_data=3, metadata={}, device="cpu")
    for name, parameter in model.named_parameters():  # the surface stays the ball that it is
        if ("proposal" in name or "background" in name) and parameter.numel() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
        if "clin" in name or "encoding" in name:
            torch.nn.init.normal_(parameter, std=0.5) if parameter.numel() else None
    return model.eval().requires_grad_(False)


def camera(width=11, height=9):
    pose = torch.eye(4)[:3]
    pose[:, 3] = torch.tensor([0.1, -0.1, 2.2])
    return Camera(pose, 10.0, 10.0, 5.5, 4.5, width, height)


@pytest.mark.parametrize("name", VARIANTS)
def test_renders_what_the_model_renders(name):
    model = build(VARIANTS[name])
    ours = NeusRadianceField(model, rays_per_chunk=32).render(camera().image_rays())
    theirs = model.get_outputs_for_camera(to_nerfstudio(camera()))
    rgb = theirs["rgb"].reshape(-1, 3)
    assert rgb.std() > 1e-3, "flat: nothing is compared"
    torch.testing.assert_close(ours.rgb, rgb.clamp(0, 1), atol=1e-4, rtol=1e-4)
    surface = theirs["accumulation"].flatten()
    assert 0.1 < (surface > 0.5).float().mean() < 0.9, "rays should meet the surface, and miss it"
    total = surface
    if "bg_accumulation" in theirs:
        total = surface + (1 - surface) * theirs["bg_accumulation"].flatten()
    torch.testing.assert_close(ours.accumulation, total, atol=1e-4, rtol=1e-4)
    along = theirs["depth"].flatten() * camera_norms()
    met = surface > 0.6
    torch.testing.assert_close(ours.depth[met], along[met], atol=1e-3, rtol=1e-3)


def camera_norms():
    """Lengths of the directions of pixels at distance 1 along the camera's axis."""
    bundle = to_nerfstudio(camera()).generate_rays(0).flatten()
    return bundle.metadata["directions_norm"].flatten()


@pytest.mark.parametrize("name", VARIANTS)
def test_it_keeps_the_contract(name):
    check_radiance_field(NeusRadianceField(build(VARIANTS[name])), camera().image_rays())


@pytest.mark.parametrize("name", ["neus", "neus-facto", "neus, no background"])
def test_what_is_cut_away_lets_light_through(name):
    field = NeusRadianceField(build(VARIANTS[name]))
    bundle = to_nerfstudio(camera()).generate_rays(0).flatten()
    whole = field.render_bundle(bundle[:])
    same = field.render_bundle(bundle[:], lambda x: torch.ones_like(x[..., 0]))
    torch.testing.assert_close(whole.rgb, same.rgb)
    half = field.render_bundle(bundle[:], lambda x: (x[..., 0] > 0).float())
    assert (half.weights[half.positions[..., 0] <= 0] == 0).all()
    assert half.weights.sum() > 0
    assert half.accumulation.sum() < whole.accumulation.sum()


@pytest.mark.parametrize("name", ["neus", "neus, no background"])
def test_the_density_is_that_of_a_ball(name):
    """The new network's surface is a ball; the density falls from s inside to 0 outside."""
    model = build(replace(VARIANTS[name], sdf_field=replace(SDF, bias=0.3)))
    field = NeusRadianceField(model)
    sharpness = float(model.field.deviation_network.get_variance())
    along = torch.linspace(0.0, 0.95, 96)
    points = torch.stack([along, torch.zeros(96), torch.zeros(96)], dim=1)
    density = field.density(points)
    distance = model.field.forward_geonetwork(points)[:, 0]
    edge = distance.abs().argmin()
    assert 0.2 < along[edge] < 0.9
    assert density[0] > 0.9 * sharpness
    assert density[-1] < 0.1 * sharpness
    torch.testing.assert_close(density[edge], torch.tensor(sharpness / 2), rtol=0.1, atol=0.0)
    outside = torch.tensor([[3.0, 0.0, 0.0]])
    if "no background" in name:
        assert field.density(outside) == 0
    else:
        expected = model.field_background.density_fn(outside)[..., 0]
        torch.testing.assert_close(field.density(outside), expected)


def test_the_space_is_the_box_or_all_of_it():
    assert NeusRadianceField(build(VARIANTS["neus, no background"])).bounds.kind == "box"
    assert NeusRadianceField(build(NEUS)).bounds.kind == "contracted"


def test_nan_is_refused():
    model = build()
    for parameter in model.field.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(SA3DError, match="NaN"):
        NeusRadianceField(model).render(camera().image_rays())
