"""Weights of former layouts compute what they did: evaluated both ways, and in whole runs."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizer, CameraOptimizerConfig

from nerfstudio_plugin.runs.checkpoint_file import read_model_weights
from nerfstudio_plugin.runs.config_file import read_run_config
from nerfstudio_plugin.runs.model_building import tcnn_modules, without_lpips
from nerfstudio_plugin.runs.opening import open_run
from nerfstudio_plugin.runs.views import parse_data
from nerfstudio_plugin.runs.weight_layouts import (
    FORMER_POSES,
    POSES,
    check_keys,
    current_layout,
    current_poses,
    photos_are_by_name,
)
from sa3d.base.errors import SA3DError
from sa3d.tcnn.binding import Encoding, Network, NetworkWithInputEncoding

BASE, HEAD = "field.mlp_base", "field.mlp_head"
FORMER_OPTIMIZER = """\
    camera_optimizer: !!python/object:nerfstudio.cameras.camera_optimizers.CameraOptimizerConfig
      _target: !!python/name:nerfstudio.cameras.camera_optimizers.CameraOptimizer ''
      mode: SO3xR3
      optimizer: null
      orientation_noise_std: 0.0
      param_group: camera_opt
      position_noise_std: 0.0
      scheduler: null
"""
"""As Nerfstudio up to 0.3.4 writes it into the data manager's config."""


def options(**changes):
    """A nerfacto model's options, with tiny tables."""
    proposals = [
        {"hidden_dim": 16, "log2_hashmap_size": 6, "num_levels": 3, "max_res": 20},
        {"hidden_dim": 32, "log2_hashmap_size": 7, "num_levels": 9, "max_res": 40},
    ]
    made = {
        **{"num_levels": 8, "max_res": 64, "base_res": 16, "log2_hashmap_size": 6},
        **{"features_per_level": 2, "hidden_dim": 32, "proposal_net_args_list": proposals},
    }
    return SimpleNamespace(**{**made, **changes})


def grid_config(levels, base, last, log2):
    growth = (last / base) ** (1 / (levels - 1))
    return {
        **{"otype": "HashGrid", "n_levels": levels, "n_features_per_level": 2},
        **{"log2_hashmap_size": log2, "base_resolution": base, "per_level_scale": growth},
    }


def network_config(width):
    return {
        **{"otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None"},
        **{"n_neurons": width, "n_hidden_layers": 1},
    }


def filled(module):
    torch.nn.init.normal_(module.params)
    return module


def buffers(model):
    made = {f"field.{n}": torch.tensor(getattr(model, n)) for n in ("max_res", "num_levels")}
    return {**made, "field.log2_hashmap_size": torch.tensor(model.log2_hashmap_size)}


@pytest.mark.parametrize("number", [0, 1])
def test_a_proposal_network_of_one_vector_computes_the_same(number):
    model = options()
    args = model.proposal_net_args_list[number]
    grid = grid_config(args["num_levels"], 16, args["max_res"], args["log2_hashmap_size"])
    config = network_config(args["hidden_dim"])
    former = filled(NetworkWithInputEncoding(3, 1, grid, config))
    place = f"proposal_networks.{number}"
    weights = {f"{BASE}.params": torch.zeros(1), f"{place}.mlp_base.params": former.params.data}
    made = current_layout({**weights, **buffers(model)}, model)
    encoding, network = Encoding(3, grid), Network(2 * args["num_levels"], 1, config)
    encoding.load_state_dict({"params": made[f"{place}.encoding.tcnn_encoding.params"]})
    network.load_state_dict({"params": made[f"{place}.mlp_base.1.tcnn_encoding.params"]})
    assert torch.equal(made[f"{place}.mlp_base.0.tcnn_encoding.params"], encoding.params)
    points = torch.rand(50, 3)
    expected = former(points)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(network(encoding(points)), expected, rtol=0, atol=1e-6)


def separate(levels, *, decoy=False):
    """A field's grid and network, and their weights under the keys of 0.3.2 to 0.3.4."""
    encoding = filled(Encoding(3, grid_config(levels, 16, 64, 6)))
    network = filled(Network(2 * levels, 16, network_config(32)))
    weights = buffers(options(num_levels=levels))
    for names, module in (
        (("mlp_base_grid", "mlp_base.0"), encoding),
        (("mlp_base_mlp", "mlp_base.1"), network),
    ):
        for name in names:
            weights[f"field.{name}.tcnn_encoding.params"] = module.params.data
    if decoy:
        weights["field.mlp_base_grid.hash_table"] = torch.ones(4, 2)
        weights["field.mlp_base.0.hash_table"] = torch.ones(4, 2)
    return encoding, network, weights


@pytest.mark.parametrize("decoy", [False, True])
def test_a_field_of_separate_vectors_computes_the_same(decoy):
    encoding, network, weights = separate(8, decoy=decoy)
    made = current_layout(weights, options())
    assert [key for key in made if key not in buffers(options())] == [f"{BASE}.model.params"]
    joined = NetworkWithInputEncoding(3, 16, grid_config(8, 16, 64, 6), network_config(32))
    joined.load_state_dict({"params": made[f"{BASE}.model.params"]})
    points = torch.rand(50, 3)
    expected = network(encoding(points))
    torch.testing.assert_close(joined(points), expected, rtol=0, atol=1e-6)


def test_ones_on_spare_inputs_of_the_field_cannot_be_expressed():
    with pytest.raises(SA3DError, match="the field's network has 10 inputs"):
        current_layout(separate(5)[2], options(num_levels=5))


@pytest.mark.parametrize("decoy", [False, True])
def test_options_that_0_3_2_wrote_and_did_not_use(decoy):
    model = options(base_res=16 if decoy else 32)
    weights = separate(8, decoy=decoy)[2]
    if decoy:
        model.base_res, model.features_per_level = 32, 4
    current_layout(weights, model)
    assert (model.base_res, model.features_per_level) == ((16, 2) if decoy else (32, 2))


def torch_weights(features=2):
    made = buffers(options())
    table, layer = torch.rand(8 * 64, features), torch.rand(4, 8 * features)
    for grid, network in (("mlp_base_grid", "mlp_base_mlp"), ("mlp_base.0", "mlp_base.1")):
        made[f"field.{grid}.hash_table"] = table
        made[f"field.{network}.layers.0.weight"] = layer
    return made


def test_torch_fields_of_0_3_are_renamed():
    former = torch_weights()
    made = current_layout(former, options())
    grid, network = f"{BASE}.model.0.hash_table", f"{BASE}.model.1.layers.0.weight"
    assert made.keys() - buffers(options()).keys() == {grid, network}
    assert made[grid] is former["field.mlp_base_grid.hash_table"]
    assert made[network] is former["field.mlp_base_mlp.layers.0.weight"]


def test_torch_runs_tell_by_their_table_which_version_wrote_them():
    model = options(base_res=32, features_per_level=4)
    current_layout(torch_weights(2), model)
    assert (model.base_res, model.features_per_level) == (16, 2)
    model = options(base_res=32, features_per_level=4)
    current_layout(torch_weights(4), model)
    assert (model.base_res, model.features_per_level) == (32, 4)
    with pytest.raises(SA3DError, match=r"base_res 32, which Nerfstudio 0.3.2 did not use"):
        current_layout(torch_weights(2), options(base_res=32))


def test_current_weights_stay_as_they_are():
    weights = {f"{BASE}.model.params": torch.rand(3)}
    assert current_layout(weights, SimpleNamespace()) == weights


def test_what_does_not_fit_is_refused_by_name():
    model = options()
    one = {f"{BASE}.params": torch.zeros(1), **buffers(model)}
    with pytest.raises(SA3DError, match=r"'proposal_networks.0.mlp_base.params' have the shape"):
        current_layout({**one, "proposal_networks.0.mlp_base.params": torch.rand(77)}, model)
    with pytest.raises(SA3DError, match=r"field.max_res 64, its config.yml 65"):
        current_layout(one, options(max_res=65))
    stated = {"proposal_networks.1.num_levels": torch.tensor(8)}
    with pytest.raises(SA3DError, match=r"proposal_networks.1.num_levels 8, its config.yml 9"):
        current_layout({**one, **stated}, model)
    one.pop("field.max_res")
    with pytest.raises(SA3DError, match=r"lacks 'field.max_res': .* 0.1.18 or older"):
        current_layout(one, model)
    copied = torch_weights()
    copied["field.mlp_base.0.hash_table"] = torch.zeros(3, 2)
    with pytest.raises(SA3DError, match=r"'field.mlp_base.0.hash_table' differ"):
        current_layout(copied, model)


def test_unknown_keys_are_named():
    one = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"weights 'a' and 1 more, missing weights 'b'$"):
        check_keys({"c": one, "a": one, "d": one}, {"b": one, "c": one})
    check_keys({"c": one}, {"c": one})


def poses(count):
    """Rotations and positions of cameras, [count, 3, 4]."""
    axes = torch.linalg.qr(torch.randn(count, 3, 3)).Q
    axes[:, :, 0] *= torch.linalg.det(axes)[:, None]
    return torch.cat([axes, torch.randn(count, 3, 1)], dim=2)


def correction(mode, adjustments):
    optimizer = CameraOptimizer(CameraOptimizerConfig(mode=mode), len(adjustments), "cpu")
    optimizer.pose_adjustment.data = adjustments
    return optimizer(torch.arange(len(adjustments))).detach()


@pytest.mark.parametrize("mode", ["SO3xR3", "SE3"])
def test_former_poses_move_the_cameras_as_they_did(mode):
    before, adjustments = poses(6), torch.randn(6, 6) * torch.logspace(-4, 0, 6)[:, None]
    former = correction(mode, adjustments)
    now = correction(mode, current_poses(adjustments, before, True))
    axes, place = before[:, :, :3], before[:, :, 3]
    torch.testing.assert_close(now[:, :, :3] @ axes, axes @ former[:, :, :3], rtol=0, atol=1e-5)
    moved = place + (axes @ former[:, :, 3:])[:, :, 0]
    torch.testing.assert_close(place + now[:, :, 3], moved, rtol=0, atol=1e-5)


def test_poses_that_cannot_be_expressed():
    before = poses(2)
    with pytest.raises(SA3DError, match="which adjustment belongs to which photo is not known"):
        current_poses(torch.rand(2, 6), before, False)
    with pytest.raises(SA3DError, match="the data has 2 photos to train on"):
        current_poses(torch.rand(3, 6), before, True)
    for factor in (1.1, -1.0):
        with pytest.raises(SA3DError, match="axes of a camera of the data are not a rotation"):
            current_poses(torch.rand(2, 6), factor * before, True)


def test_photos_by_name(tmp_path):
    def write(*names):
        frames = [{"file_path": name} for name in names]
        (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))

    write("images/a.png", "images/b.png")
    assert photos_are_by_name(tmp_path)
    assert photos_are_by_name(tmp_path / "transforms.json")
    write("images/b.png", "images/a.png")
    assert not photos_are_by_name(tmp_path)


# Whole runs: the tiny run, written as Nerfstudio up to 0.3.4 would have.


def checkpoint_of(config):
    return next((config.parent / "nerfstudio_models").glob("*.ckpt"))


def write_checkpoint(config, weights):
    state = {key if key == FORMER_POSES else f"_model.{key}": v for key, v in weights.items()}
    path = checkpoint_of(config)
    path.unlink()  # the file may still be mapped
    torch.save({"step": 2, "pipeline": state}, path)


def with_former_optimizer(config):
    text = config.read_text()
    text, moved = re.subn(r"^    camera_optimizer: !!(.*\n)((      .*\n)+)", "", text, flags=re.M)
    assert moved == 1
    assert text.count("    camera_optimizer: null\n") == 1
    text = text.replace("    camera_optimizer: null\n", FORMER_OPTIMIZER)
    config.write_text(text.replace("    average_init_density: 1.0\n", ""))


def former_poses(config, weights):
    """The pose adjustments as the data manager had them."""
    run = read_run_config(config)
    cameras = parse_data(run, config.parents[4] / "data").train.cameras
    axes = cameras.camera_to_worlds[:, :3, :3]
    return (weights.pop(POSES).view(-1, 2, 3) @ axes).reshape(-1, 6)


def seen(config):
    """Cameras of all views, and what the field renders in some pixels."""
    run = open_run(config, device="cpu")
    cameras = torch.stack([view.camera.c2w for view in run.views])
    found = run.field.render(run.views[0].camera.image_rays()[::37])
    return cameras, found.rgb, found.depth, found.accumulation


def same(config, expected):
    for now, before in zip(seen(config), expected, strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=1e-5)


def to_separate_torch(weights):
    made = {}
    for key, value in weights.items():
        for part, names in (("0", ("_grid", ".0")), ("1", ("_mlp", ".1"))):
            if key.startswith(f"{BASE}.model.{part}."):
                rest = key.removeprefix(f"{BASE}.model.{part}.")
                made.update({f"{BASE}{name}.{rest}": value for name in names})
        if not key.startswith(f"{BASE}.model."):
            made[key] = value
    return made


def test_a_torch_run_of_0_3(tiny_run):
    expected = seen(tiny_run)
    weights = to_separate_torch(read_model_weights(checkpoint_of(tiny_run)))
    assert weights[POSES].abs().amax(1).min() > 1e-3
    weights[FORMER_POSES] = former_poses(tiny_run, weights)
    write_checkpoint(tiny_run, weights)
    with_former_optimizer(tiny_run)
    same(tiny_run, expected)


def test_a_former_run_without_moved_cameras(tiny_run):
    weights = to_separate_torch(read_model_weights(checkpoint_of(tiny_run)))
    weights[POSES].zero_()
    write_checkpoint(tiny_run, weights)
    expected = seen(tiny_run)
    weights.pop(POSES)
    write_checkpoint(tiny_run, weights)
    with_former_optimizer(tiny_run)
    tiny_run.write_text(tiny_run.read_text().replace("mode: SO3xR3", "mode: 'off'"))
    same(tiny_run, expected)


def test_a_former_run_of_unsorted_photos(tiny_run, tmp_path):
    weights = to_separate_torch(read_model_weights(checkpoint_of(tiny_run)))
    weights[FORMER_POSES] = former_poses(tiny_run, weights)
    write_checkpoint(tiny_run, weights)
    with_former_optimizer(tiny_run)
    transforms = tmp_path / "data/transforms.json"
    meta = json.loads(transforms.read_text())
    meta["frames"].reverse()
    transforms.write_text(json.dumps(meta))
    with pytest.raises(SA3DError, match="'off' to open the run"):
        open_run(tiny_run, device="cpu")
    tiny_run.write_text(tiny_run.read_text().replace("mode: SO3xR3", "mode: 'off'"))
    assert POSES not in open_run(tiny_run, device="cpu").model.state_dict()


@pytest.fixture
def tcnn_run(tiny_run):
    """The tiny run with random weights of tiny-cuda-nn, and the weights; spare inputs have none."""
    text = tiny_run.read_text()
    assert "num_levels: 4\n" in text
    tiny_run.write_text(text.replace("    num_levels: 4\n", "    num_levels: 8\n"))
    config = read_run_config(tiny_run)
    data = parse_data(config, tiny_run.parents[4] / "data").train
    vars(config.pipeline.model)["implementation"] = "tcnn"
    torch.manual_seed(0)
    with without_lpips(), tcnn_modules("tcnn", "torch", torch.device("cpu")):
        model = config.pipeline.model.setup(
            scene_box=data.scene_box, num_train_data=len(data.image_filenames)
        )
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    for key, value in weights.items():
        if key.endswith(".params") or key == POSES:
            torch.nn.init.normal_(value, std=0.3 if value.numel() > 100 else 0.05)
    for number in (0, 1):
        place = f"proposal_networks.{number}"
        weights[f"{place}.mlp_base.0.tcnn_encoding.params"] = weights[
            f"{place}.encoding.tcnn_encoding.params"
        ]
        weights[f"{place}.mlp_base.1.tcnn_encoding.params"][: 8 * 16].view(8, 16)[:, 6:] = 0
    write_checkpoint(tiny_run, weights)
    return tiny_run, weights


def to_one_vector(weights):
    made = {}
    for key, value in weights.items():
        if place := re.match(r"(proposal_networks.\d)\.mlp_base\.1\.tcnn", key):
            network = value.clone()
            network[: 8 * 16].view(8, 16)[:, 6:] = 7.0  # without effect
            grid = weights[f"{place[1]}.encoding.tcnn_encoding.params"]
            made[f"{place[1]}.mlp_base.params"] = torch.cat([network, grid])
        elif not key.startswith("proposal_networks") or not key.endswith(".params"):
            made[key.replace(".tcnn_encoding", "").replace(f"{BASE}.model.", f"{BASE}.")] = value
    assert f"{HEAD}.params" in made
    return made


def to_separate_vectors(weights):
    made = dict(weights)
    vector = made.pop(f"{BASE}.model.params")
    length = 16 * 16 + 16 * 16
    for names, part in (
        (("_mlp", ".1"), vector[:length]),
        (("_grid", ".0"), vector[length:]),
    ):
        made.update({f"{BASE}{name}.tcnn_encoding.params": part for name in names})
    return made


def with_decoys(weights):
    made = to_separate_vectors(weights)
    for place in (f"{BASE}_grid", f"{BASE}.0", "proposal_networks.0.encoding"):
        assert f"{place}.tcnn_encoding.params" in made
        made[f"{place}.hash_table"] = torch.rand(8, 2)
    return made


@pytest.mark.parametrize("write", [to_one_vector, to_separate_vectors, with_decoys])
def test_a_tiny_cuda_nn_run_of_0_3(tcnn_run, write):
    config, weights = tcnn_run
    expected = seen(config)
    assert expected[1].std() > 1e-3
    weights = write(weights)
    weights[FORMER_POSES] = former_poses(config, weights)
    write_checkpoint(config, weights)
    with_former_optimizer(config)
    same(config, expected)


def test_an_unknown_layout_is_refused_by_name(tcnn_run):
    config, weights = tcnn_run
    weights["field.mlp_base.strange"] = weights.pop(f"{BASE}.model.params")
    write_checkpoint(config, weights)
    with pytest.raises(SA3DError) as caught:
        open_run(config, device="cpu")
    assert "unexpected weights 'field.mlp_base.strange'" in str(caught.value)
    assert "missing weights 'field.mlp_base.model.params'" in str(caught.value)
    assert str(Path(config).parent) in str(caught.value)
