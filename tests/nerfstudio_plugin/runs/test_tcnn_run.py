"""A run with the weights of tiny-cuda-nn, on a machine without it: the whole product.

The run was trained by ``train_tcnn_run``. Its config and checkpoint are as Nerfstudio writes them
on a GPU, but for their half precision.
"""

import json
import math
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from ns_commands import SCRIPTS, environment, free_port, ns, shown_by_viewer
from PIL import Image

from nerfstudio_plugin.api.opening import load
from nerfstudio_plugin.demo.data import open_demo
from nerfstudio_plugin.fields.config import FieldsConfig
from nerfstudio_plugin.runs.opening import open_run
from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import load_segmentation
from sa3d.tcnn.hash_grid import FIRST_ENTRIES

LEAST_PSNR = 22.0
"""dB on photos that the training did not see; the demo's own run has 24.2, measured so, too."""
LEAST_IOU = 0.8
COARSE = ("--prepare.ray-side", "72", "--prepare.resolution", "96")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config():
    """The run's config.yml, in the repository."""
    return Path(__file__).parents[1] / "tcnn_room/config.yml"


@pytest.fixture(scope="module")
def run(config):
    return open_run(config, device="cpu")


def sa3d(*arguments, cwd):
    command = [str(SCRIPTS / "sa3d"), *(str(argument) for argument in arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def test_the_files_are_those_of_a_gpu(config, run):
    assert "implementation: tcnn" in config.read_text()
    (checkpoint,) = (config.parent / "nerfstudio_models").glob("*.ckpt")
    saved = torch.load(checkpoint, weights_only=False)["pipeline"]
    names = {key for key in saved if not key.startswith("_model.lpips")}
    assert "_model.field.mlp_base.model.params" in names
    assert "_model.proposal_networks.0.mlp_base.1.tcnn_encoding.params" in names
    assert not any("hash_table" in name or "layers" in name for name in names)
    own = run.model.state_dict()
    assert {f"_model.{name}" for name in own} == names
    for name, value in own.items():
        assert torch.equal(value, saved[f"_model.{name}"].to(value.dtype)), name


def test_the_script_trains_a_run(tmp_path):
    """Three steps of it: both copies open, and training moved the weights."""
    script = Path(__file__).parents[1] / "train_tcnn_run.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "3", "64"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    data = open_demo("room").folder
    whole = open_run(tmp_path / "outputs/room", data=data, device="cpu").model.state_dict()
    halved = open_run(tmp_path / "room", data=data, device="cpu").model.state_dict()
    grid = whole["field.mlp_base.model.params"]
    assert grid[-1000:].abs().max() > FIRST_ENTRIES
    assert torch.equal(grid.half().float(), halved["field.mlp_base.model.params"])


def test_it_renders_the_photos(run):
    """Trained and unseen views, whole; the compiled pass against torch's, ray by ray."""
    unseen = [view for view in run.views if view.camera.index < 0]
    errors = []
    for view in unseen:
        camera = view.camera.fitted(96)
        rendered = run.field.render(camera.image_rays()).rgb.numpy()
        photo = Image.fromarray(view.image())
        small = photo.resize((camera.width, camera.height), Image.Resampling.BOX)
        errors.append(np.mean((rendered - np.asarray(small).reshape(-1, 3) / 255) ** 2))
    psnr = -10 * math.log10(np.mean(errors))
    print(f"{psnr:.2f} dB on {len(unseen)} photos that the training did not see")
    assert psnr >= LEAST_PSNR


def test_the_compiled_pass_renders_as_torch_does(run, monkeypatch):
    rays = run.views[3].camera.fitted(64).image_rays()
    compiled = run.field.render(rays)
    monkeypatch.setattr("sa3d.tcnn.fused_grid.is_possible", lambda *tensors: False)
    monkeypatch.setattr("nerfstudio_plugin.fields.cpu_modules.is_possible", lambda *tensors: False)
    in_torch = run.field.render(rays)
    difference = (compiled.rgb - in_torch.rgb).abs()
    assert difference.max() > 0, "the same pass was compared with itself"
    error = difference.square().mean()
    print(f"the two passes differ by {-10 * math.log10(error):.0f} dB, at most {difference.max()}")
    assert -10 * math.log10(error) > 60
    assert difference.mean() < 1e-4


def test_nothing_depends_on_which_implementation_evaluates(config, run, monkeypatch):
    """The modules of ``sa3d.tcnn`` once more, as if they were tiny-cuda-nn itself."""
    from sa3d.tcnn import binding

    for module in ("encodings", "mlp"):
        monkeypatch.setattr(f"nerfstudio.field_components.{module}.tcnn", binding)
        monkeypatch.setattr(f"nerfstudio.field_components.{module}.TCNN_EXISTS", True)
    native = "nerfstudio_plugin.runs.model_building.tcnn_modules"
    monkeypatch.setattr(native, lambda *arguments: nullcontext())
    native = open_run(config, device="cpu", fields=FieldsConfig("native"))
    assert native.field.fingerprint == run.field.fingerprint


def test_native_is_refused_where_it_is_not_to_be_had(config):
    with pytest.raises(SA3DError, match=r"fields\.tcnn"):
        open_run(config, device="cpu", fields=FieldsConfig("native"))


def test_info_says_how_it_is_evaluated(config, tmp_path):
    out = sa3d("info", config, "--json", "info.json", cwd=tmp_path)
    assert "tiny-cuda-nn weights, evaluated by torch" in out
    assert json.loads((tmp_path / "info.json").read_text())["tcnn"] == "torch"


@pytest.fixture(scope="module")
def segmented(config, tmp_path_factory):
    """A folder with ``ball``, a segmentation by one box."""
    folder = tmp_path_factory.mktemp("segmented")
    box = ("--view", "038.jpg", "--object", "ball", "--box", "30,120,91,178")
    options = ("--config", "demo", *COARSE, "--cache-dir", folder / "cache")
    sa3d("segment", "--load-config", config, *options, *box, "--output", "ball", cwd=folder)
    return folder


def test_one_box_gives_the_object(segmented, run):
    demo = open_demo("room")
    scene = load(segmented / "ball", load_config=run.load_config, device="cpu")
    scores = []
    views = scene.scene.views[::6]
    for view, exact in zip(views, demo.exact_masks("ball", views), strict=True):
        found = scene["ball"].mask(view.name)
        scores.append((found & exact).sum() / (found | exact).sum())
    print(f"mean IoU {np.mean(scores):.3f} in {len(views)} views")
    assert np.mean(scores) >= LEAST_IOU


def test_stock_nerfstudio_renders_the_exported_field(segmented, tmp_path):
    sa3d(
        "export",
        "field",
        "--segmentation",
        segmented / "ball",
        "--output",
        tmp_path / "field",
        "--cache-dir",
        segmented / "cache",
        cwd=tmp_path,
    )
    config = tmp_path / "field/config.yml"
    assert "implementation: tcnn" in config.read_text()
    ns(
        "ns-render",
        "dataset",
        f"--load-config={config}",
        f"--output-path={tmp_path}",
        "--split=test",
        "--image-format=png",
        "--rendered-output-names",
        "rgba",
        cwd=tmp_path,
    )
    shown = [np.asarray(Image.open(one))[..., 3] > 128 for one in tmp_path.glob("test/rgba/*.png")]
    assert 0.005 < np.mean(shown) < 0.2


def test_ns_train_and_ns_viewer(config, tmp_path):
    ns(
        "ns-train",
        "sa3d",
        f"--pipeline.base-config={config}",
        "--pipeline.view=038.jpg",
        "--pipeline.box",
        "30",
        "120",
        "91",
        "178",
        "--pipeline.prepare.resolution=48",
        "--pipeline.prepare.ray-side=32",
        "--pipeline.loop.convergence.max-rounds=1",
        f"--pipeline.cache-dir={tmp_path / 'cache'}",
        "--timestamp=test",
        f"--viewer.websocket-port={free_port()}",
        "--viewer.quit-on-train-completion=True",
        cwd=tmp_path,
    )
    trained = tmp_path / "outputs/room/sa3d/test"
    assert load_segmentation(trained / "segmentation").segmentation.objects
    choice = "1. 038.jpg: box"
    picture, _ = shown_by_viewer(trained / "config.yml", (0.4, 0.0, 0.3), choice, tmp_path)
    assert picture is not None
    assert picture.std() > 0
