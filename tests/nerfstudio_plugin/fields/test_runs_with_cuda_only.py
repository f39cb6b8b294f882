"""Runs of methods that ``ns-train`` trains with CUDA or tiny-cuda-nn only, opened on a CPU.

Config and checkpoint are written as ``ns-train`` writes them; the weights are random.
"""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml
from nerfstudio.configs.method_configs import method_configs
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from train_tiny_run import write_data

from nerfstudio_plugin.runs.model_building import tcnn_modules, without_lpips
from nerfstudio_plugin.runs.opening import open_run
from nerfstudio_plugin.runs.views import parse_data
from sa3d.testing.field_contract import check_radiance_field

METHODS = ("instant-ngp", "instant-ngp-bounded", "neus", "neus-facto")

pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")


def shrink(model):
    """Make a model of any of the methods tiny."""
    sizes = {
        "grid_resolution": 16,
        "log2_hashmap_size": 8,
        "max_res": 32,
        "num_samples": 16,
        "num_samples_importance": 16,
        "num_samples_outside": 8,
        "num_neus_samples_per_ray": 16,
        "num_proposal_samples_per_ray": (16, 16),
        "render_step_size": 0.02,
    }
    for name, value in sizes.items():
        if hasattr(model, name):
            setattr(model, name, value)
    if hasattr(model, "sdf_field"):
        for name in ("hidden_dim", "hidden_dim_color", "geo_feat_dim"):
            setattr(model.sdf_field, name, 64)
        model.sdf_field.num_levels, model.sdf_field.log2_hashmap_size = 4, 8
        model.sdf_field.inside_outside = False  # a ball, seen from outside


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the data and ``METHOD/run/config.yml`` of each method."""
    made = tmp_path_factory.mktemp("cuda_only")
    write_data(made / "data")
    for method in METHODS:
        write_run(made, method)
    return made


def write_run(folder: Path, method: str) -> None:
    torch.manual_seed(0)
    config = deepcopy(method_configs[method])
    config.experiment_name, config.timestamp, config.vis = "cuda", "run", "tensorboard"
    config.data = config.pipeline.datamanager.data = folder / "data"
    config.pipeline.datamanager.dataparser = NerfstudioDataParserConfig()
    shrink(config.pipeline.model)
    run = folder / method / "run"
    (run / config.relative_model_dir).mkdir(parents=True)
    (run / "config.yml").write_text(yaml.dump(config))
    data = parse_data(config, folder / "data").train
    with without_lpips(), tcnn_modules("tcnn", "torch", torch.device("cpu")):
        model = config.pipeline.model.setup(
            scene_box=data.scene_box, num_train_data=len(data.image_filenames), metadata={},
            device="cpu", grad_scaler=None,
        )  # fmt: skip
    for name, parameter in model.named_parameters():
        if name.endswith("params") and parameter.numel():
            torch.nn.init.normal_(parameter, std=0.5)
    if "ngp" in method:
        grid = model.occupancy_grid
        grid.binaries = torch.rand(grid.binaries.shape) < 0.3
    state = {f"_model.{key}": value for key, value in model.state_dict().items()}
    checkpoint = {"step": 7, "pipeline": state, "optimizers": {}, "schedulers": {}, "scalers": {}}
    torch.save(checkpoint, run / config.relative_model_dir / "step-000000007.ckpt")


@pytest.mark.parametrize("method", METHODS)
def test_they_open_and_keep_the_contract(folder, method):
    run = open_run(folder / method, device="cpu")
    assert run.config.method_name == method
    assert run.tcnn == "torch"
    assert len(run.views) == 8
    check_radiance_field(run.field, run.views[1].camera.image_rays()[::3])


@pytest.mark.parametrize("method", METHODS)
def test_info(folder, method, command_line_of_runs, tmp_path):
    printed = command_line_of_runs.succeeds("info", folder / method, "--json", tmp_path / "i.json")
    assert f"{method} run, step-000000007.ckpt" in printed
    assert "tiny-cuda-nn weights, evaluated by torch" in printed
    assert json.loads((tmp_path / "i.json").read_text())["method"] == method


@pytest.mark.parametrize("method", ["instant-ngp", "neus"])
def test_a_click_makes_a_segmentation(folder, method, command_line_of_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command_line_of_runs.succeeds(
        *("segment", "--load-config", folder / method, "--view", "frame_003.png"),
        *("--points", "16,12", "--output", tmp_path / "made", "--cache-dir", tmp_path / "cache"),
        *("--prepare.resolution", "24", "--prepare.ray-side", "16"),
        *("--loop.convergence.max-rounds", "1"),
    )
    assert (tmp_path / "made/overlay.png").is_file()
    refused = command_line_of_runs.refuses(
        *("export", "field", "--segmentation", tmp_path / "made", "--output", tmp_path / "field"),
    )
    assert "writes nerfacto runs only" in refused
