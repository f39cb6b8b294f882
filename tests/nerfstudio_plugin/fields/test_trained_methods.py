"""Tiny runs of other methods than nerfacto, trained by ``ns-train`` on a CPU, opened and used."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ns_commands import environment
from train_methods import OPTIONS

from nerfstudio_plugin.runs.cameras import to_nerfstudio
from nerfstudio_plugin.runs.opening import open_run
from sa3d.testing.field_contract import check_radiance_field

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder with the runs ``outputs/tiny/METHOD/run``."""
    folder = tmp_path_factory.mktemp("methods")
    script = Path(__file__).parents[1] / "train_methods.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), *OPTIONS],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def config_of(folder, method):
    return folder / "outputs/tiny" / method / "run/config.yml"


@pytest.mark.parametrize("method", OPTIONS)
def test_runs_open_and_render_as_the_model(trained, method):
    run = open_run(config_of(trained, method), data=trained / "data", device="cpu")
    camera = run.views[2].camera
    ours = run.field.render(camera.image_rays())
    theirs = run.model.get_outputs_for_camera(to_nerfstudio(camera))
    suffix = "" if "rgb" in theirs else "_fine"
    for part in ("rgb", "depth", "accumulation"):
        expected = theirs[part + suffix].reshape(getattr(ours, part).shape)
        close = torch.isclose(getattr(ours, part), expected, atol=1e-4, rtol=1e-4)
        assert close.float().mean() > 0.995, part  # a median may fall on the sample beside
    check_radiance_field(run.field, camera.image_rays())


def test_tensorfs_grids_have_the_size_they_grew_to(trained):
    run = open_run(config_of(trained, "tensorf"), data=trained / "data", device="cpu")
    assert run.model.field.density_encoding.plane_coef.shape[-2:] == (16, 16)


@pytest.mark.parametrize("method", OPTIONS)
def test_info_names_the_method(trained, method, command_line_of_runs):
    run = (config_of(trained, method), "--data", trained / "data")
    printed = command_line_of_runs.succeeds("info", *run)
    assert f"{method} run, step-000000002.ckpt" in printed
    assert f"space: {'box' if method == 'tensorf' else 'contracted'}" in printed


def test_a_click_makes_a_segmentation(trained, command_line_of_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command_line_of_runs.succeeds(
        *("segment", "--load-config", config_of(trained, "mipnerf"), "--data", trained / "data"),
        *("--view", "frame_003.png", "--points", "16,12", "--output", tmp_path / "made"),
        *("--cache-dir", tmp_path / "cache", "--prepare.resolution", "24"),
        *("--prepare.ray-side", "16", "--loop.convergence.max-rounds", "1"),
    )
    assert (tmp_path / "made/overlay.png").is_file()
    assert any((tmp_path / "cache").iterdir())
