import math

import pytest
import torch
from nerfstudio.field_components.encodings import HashEncoding
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.utils.math import Gaussians
from test_nerfacto import VARIANTS, build, camera

from nerfstudio_plugin.fields.cpu_modules import speed_up
from nerfstudio_plugin.fields.nerfacto import NerfactoRadianceField


def grid(levels=5, features=2):
    torch.manual_seed(0)
    return HashEncoding(
        num_levels=levels,
        min_res=4,
        max_res=64,
        log2_hashmap_size=8,
        features_per_level=features,
        hash_init_scale=1.0,
        implementation="torch",
    )


@pytest.mark.parametrize("features", [1, 2, 4])
def test_a_hash_grid_keeps_every_bit(features):
    encoding = grid(features=features)
    points = torch.rand(40, 7, 3)
    points[0, 0] = 0.0
    points[0, 1] = 1.0
    points[0, 2] = 0.25  # a corner of several levels
    with torch.no_grad():
        before = encoding(points)
        speed_up(encoding)
        after = encoding(points)
    assert type(encoding.pytorch_fwd).__name__ == "_FusedGrid"
    assert after.shape == (40, 7, 5 * features)
    assert torch.equal(before, after)


def test_gradients_are_those_of_before():
    encoding, points = grid(), torch.rand(9, 3)
    encoding(points).square().sum().backward()
    before = encoding.hash_table.grad.clone()
    encoding.hash_table.grad = None
    speed_up(encoding)
    encoding(points).square().sum().backward()
    assert torch.equal(encoding.hash_table.grad, before)
    assert before.abs().sum() > 0


def test_a_contraction_keeps_every_bit():
    contraction = SceneContraction(order=math.inf)
    points = torch.randn(50, 6, 3) * 3
    points[0, 0], points[0, 1] = 0.0, torch.tensor([1.0, -1.0, 0.5])
    before = contraction(points)
    speed_up(contraction)
    assert type(contraction.forward).__name__ == "_Contraction"
    assert torch.equal(before, contraction(points))


@pytest.mark.filterwarnings("ignore:We've integrated functorch:FutureWarning")
def test_what_is_not_of_the_kind_stays():
    other = SceneContraction()
    speed_up(other)
    assert "forward" not in vars(other)
    contraction = SceneContraction(order=math.inf)
    cones = Gaussians(torch.randn(3, 3), torch.eye(3).expand(3, 3, 3).contiguous())
    before = contraction(cones)
    speed_up(contraction)
    assert torch.equal(before.mean, contraction(cones).mean)


@pytest.mark.parametrize("name", ["default", "boxed", "normals"])
def test_a_model_renders_every_bit_as_before(name):
    model = build(VARIANTS[name])
    before = NerfactoRadianceField(model).render(camera().image_rays())
    speed_up(model)
    after = NerfactoRadianceField(model).render(camera().image_rays())
    for part, value in vars(before).items():
        assert torch.equal(value, getattr(after, part)), part
