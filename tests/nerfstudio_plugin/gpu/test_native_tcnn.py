"""tiny-cuda-nn itself against its reading in torch, checkpoint for checkpoint.

Needs a GPU and the package tinycudann; ``make gpu`` runs it.
"""

from copy import deepcopy

import pytest
import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.configs.method_configs import method_configs
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.scene_box import SceneBox

from nerfstudio_plugin.fields.nerfacto import NerfactoRadianceField
from nerfstudio_plugin.runs.model_building import build_model, tcnn_modules, without_lpips
from sa3d.geometry.camera import Camera

HALF = 2e-2
"""Largest mean difference of colors; the GPU computes in half precision."""

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def native():
    """Skip where there is nothing to compare with."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    pytest.importorskip("tinycudann", reason="no tinycudann")


def weights(config, box):
    """Weights of the size of trained ones, made by tiny-cuda-nn's own modules."""
    torch.manual_seed(0)
    with without_lpips(), tcnn_modules("tcnn", "native", torch.device("cuda")):
        model = config.setup(scene_box=box, num_train_data=7, metadata={}, device="cuda")
    for name, parameter in model.named_parameters():
        if parameter.numel():
            torch.nn.init.normal_(parameter, std=0.1 if "encoding" in name else 0.2)
    return {key: value.cpu() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("method", ["nerfacto", "nerfacto-big", "nerfacto-huge", "depth-nerfacto"])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_torch_renders_as_tiny_cuda_nn(method, device):
    config = deepcopy(method_configs[method].pipeline.model)
    config.camera_optimizer = CameraOptimizerConfig(mode="off")
    box = SceneBox(torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
    data = DataparserOutputs([f"{n}.png" for n in range(7)], cameras=None, scene_box=box)
    state = weights(deepcopy(config), box)
    fields = [
        NerfactoRadianceField(
            build_model(deepcopy(config), state, data, tcnn, torch.device(place), 0)
        )
        for tcnn, place in (("native", "cuda"), ("torch", device))
    ]
    assert fields[0].fingerprint == fields[1].fingerprint
    pose = torch.eye(4)[:3]
    pose[:, 3] = torch.tensor([0.1, -0.2, 1.0])
    rays = Camera(pose, 48.0, 48.0, 24.0, 24.0, 48, 48).image_rays()
    ours, theirs = (field.render(rays) for field in reversed(fields))
    difference = (ours.rgb.cpu() - theirs.rgb.cpu()).abs()
    print(f"{method} on {device}: mean {difference.mean():.1e}, largest {difference.max():.1e}")
    assert difference.mean() < HALF
