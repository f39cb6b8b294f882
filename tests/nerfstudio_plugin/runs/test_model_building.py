"""Models are built with the modules of their weights."""

import json
from copy import deepcopy
from pathlib import Path

import nerfstudio.field_components.encodings as encodings
import nerfstudio.field_components.mlp as mlp
import pytest
import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.configs.method_configs import method_configs
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.scene_box import SceneBox

from nerfstudio_plugin.runs.model_building import build_model, tcnn_modules, without_lpips
from sa3d.base.errors import SA3DError

SHAPES = json.loads(Path(__file__).with_name("tcnn_shapes.json").read_text())
"""Keys and shapes of the state dicts of Nerfstudio 1.1.5 with tiny-cuda-nn, for 7 photos."""
CPU = torch.device("cpu")


def config_of(name):
    method, _, change = name.partition("+")
    config = deepcopy(method_configs[method].pipeline.model)
    config.predict_normals = change == "predict-normals"
    if change == "no-appearance":
        config.use_appearance_embedding = False
    return config


@pytest.mark.parametrize("name", [name for name in SHAPES if "instant" not in name])
def test_the_state_dict_is_the_checkpoints(name):
    box = SceneBox(torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
    with torch.device("meta"), without_lpips(), tcnn_modules("tcnn", "torch", CPU):
        model = config_of(name).setup(scene_box=box, num_train_data=7, metadata={}, device="cpu")
    own = {
        f"_model.{key}": [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in model.state_dict().items()
    }
    assert own == SHAPES[name]["state_dict"]


def small(**changes):
    config = deepcopy(method_configs["nerfacto"].pipeline.model)
    options = {
        "num_levels": 3,
        "log2_hashmap_size": 6,
        "max_res": 32,
        "hidden_dim": 16,
        "hidden_dim_color": 16,
        "appearance_embed_dim": 4,
        "proposal_net_args_list": [
            {"hidden_dim": 16, "log2_hashmap_size": 6, "num_levels": 3, "max_res": 32}
        ],
        "use_same_proposal_network": True,
        "camera_optimizer": CameraOptimizerConfig(mode="off"),
        **changes,
    }
    for key, value in options.items():
        setattr(config, key, value)
    return config


def data():
    box = SceneBox(torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
    return DataparserOutputs([Path("photo.png")] * 3, cameras=None, scene_box=box)


def weights_of(implementation):
    torch.manual_seed(0)
    with without_lpips(), tcnn_modules(implementation, "torch", CPU):
        model = small(implementation=implementation).setup(
            scene_box=data().scene_box, num_train_data=3, metadata={}, device="cpu"
        )
    return model.state_dict()


@pytest.mark.parametrize("implementation", ["tcnn", "torch"])
@pytest.mark.parametrize("named", ["tcnn", "torch"])
def test_the_weights_decide_and_not_the_config(implementation, named):
    weights = weights_of(implementation)
    config = small(implementation=named)
    model = build_model(config, weights, data(), "auto", CPU)
    assert config.implementation == implementation
    loaded = model.state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)
    assert not model.training


def test_weights_in_half_precision_are_read():
    weights = weights_of("tcnn")
    halves = {
        key: value.half() if value.is_floating_point() else value for key, value in weights.items()
    }
    model = build_model(small(), halves, data(), "auto", CPU)
    params = model.state_dict()["field.mlp_base.model.params"]
    assert params.dtype == torch.float32
    assert torch.equal(params, weights["field.mlp_base.model.params"].half().float())


def test_a_vector_of_another_length_is_refused_by_name():
    weights = weights_of("tcnn")
    weights["field.mlp_head.tcnn_encoding.params"] = torch.zeros(17)
    with pytest.raises(RuntimeError, match=r"mlp_head\.tcnn_encoding\.params has the shape \[17\]"):
        build_model(small(), weights, data(), "auto", CPU)


def test_nerfstudio_is_left_as_it_was():
    before = [(module.TCNN_EXISTS, module.tcnn) for module in (encodings, mlp)]
    inside = []

    def fail():
        inside.append(encodings.TCNN_EXISTS)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), tcnn_modules("tcnn", "torch", CPU):
        fail()
    assert inside == [True]
    assert [(module.TCNN_EXISTS, module.tcnn) for module in (encodings, mlp)] == before


def test_torch_weights_have_torch_modules_where_tcnn_is_installed(monkeypatch):
    weights = weights_of("torch")
    for module in (encodings, mlp):
        monkeypatch.setattr(module, "TCNN_EXISTS", True)
    model = build_model(small(implementation="tcnn"), weights, data(), "auto", CPU)
    assert model.state_dict().keys() == weights.keys()


def test_native_needs_tiny_cuda_nn_and_a_gpu(monkeypatch):
    with (
        pytest.raises(SA3DError, match=r"'fields\.tcnn' is native, which needs the package"),
        tcnn_modules("tcnn", "native", CPU),
    ):
        pass
    monkeypatch.setattr("nerfstudio_plugin.runs.model_building.TCNN_EXISTS", True)
    with (
        pytest.raises(SA3DError, match="needs the device cuda"),
        tcnn_modules("tcnn", "native", CPU),
    ):
        pass
    for choice in ("native", "auto"):
        with tcnn_modules("tcnn", choice, torch.device("cuda")):
            assert not encodings.TCNN_EXISTS, "tiny-cuda-nn itself was replaced"
    with tcnn_modules("tcnn", "torch", torch.device("cuda")):
        assert encodings.TCNN_EXISTS
