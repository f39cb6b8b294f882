"""Runs as they are found: data of COLMAP, other versions' checkpoints, a training that goes on."""

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig
from ns_commands import SCRIPTS, environment
from PIL import Image
from scipy.spatial.transform import Rotation

from nerfstudio_plugin.cli import main
from nerfstudio_plugin.runs.checkpoint_file import read_checkpoint, read_model_weights
from nerfstudio_plugin.runs.config_file import read_run_config
from nerfstudio_plugin.runs.opening import open_run
from sa3d.base.errors import SA3DError

CHECKPOINTS = Path(__file__).with_name("checkpoints")
OPENGL_TO_COLMAP = np.diag([1.0, -1.0, -1.0])


def write_colmap(data, views, scale):
    """The cameras of views as COLMAP's text model, in a world of another size."""
    model = data / "colmap/sparse/0"
    model.mkdir(parents=True)
    lines = []
    for number, view in enumerate(views, start=1):
        c2w = view.camera.c2w.double().numpy()
        rotation = (c2w[:, :3] @ OPENGL_TO_COLMAP).T
        x, y, z, w = Rotation.from_matrix(rotation).as_quat()
        move = -rotation @ c2w[:, 3] * scale
        pose = " ".join(f"{value:.17g}" for value in (w, x, y, z, *move))
        lines += [f"{number} {pose} 1 {view.image_path.name}", ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    numbers = "30.0 31.0 15.5 12.5 0.05 -0.02 0.001 -0.002"
    (model / "cameras.txt").write_text(f"1 OPENCV 32 24 {numbers}\n")
    (model / "points3D.txt").write_text("")


@pytest.fixture
def colmap_run(tiny_run, tmp_path):
    """The tiny run as if it had been trained on COLMAP's own files, and its views before.

    Training moves no camera: moves in the frame of one world would be others in the next.
    """
    (checkpoint,) = (tiny_run.parent / "nerfstudio_models").glob("*.ckpt")
    content = torch.load(checkpoint, weights_only=False)
    content["pipeline"]["_model.camera_optimizer.pose_adjustment"].zero_()
    torch.save(content, checkpoint)
    views = open_run(tiny_run, device="cpu").views
    config = read_run_config(tiny_run)
    config.pipeline.datamanager.dataparser = ColmapDataParserConfig(
        eval_mode="interval", eval_interval=4
    )
    tiny_run.write_text(yaml.dump(config))
    (tiny_run.parent / "dataparser_transforms.json").unlink()
    (tmp_path / "data/transforms.json").unlink()
    write_colmap(tmp_path / "data", views, scale=7.0)
    return tiny_run, views


def check_same_cameras(found, expected, factor=1):
    """Centers relative to the first one and each other, turns between cameras, and lenses."""
    assert [view.name for view in found] == [view.name for view in expected]
    poses = [
        torch.stack([view.camera.c2w for view in views]).double() for views in (found, expected)
    ]
    spans = [torch.cdist(pose[:, :, 3], pose[:, :, 3]) for pose in poses]
    torch.testing.assert_close(
        spans[0] / spans[0].max(), spans[1] / spans[1].max(), atol=1e-4, rtol=0
    )
    turns = [pose[:1, :, :3].transpose(1, 2) @ pose[:, :, :3] for pose in poses]
    torch.testing.assert_close(*turns, atol=1e-4, rtol=0)
    for one, other in zip(found, expected, strict=True):
        lens = [getattr(one.camera, name) for name in ("fx", "fy", "cx", "cy")]
        same = [getattr(other.camera, name) / factor for name in ("fx", "fy", "cx", "cy")]
        np.testing.assert_allclose(lens, same, rtol=1e-5)
        np.testing.assert_allclose(one.camera.distortion, other.camera.distortion, atol=1e-6)


def test_data_of_colmap(colmap_run):
    config, views = colmap_run
    run = open_run(config, device="cpu")
    assert len(run.views) == 8
    check_same_cameras(run.views, views)
    assert torch.isfinite(run.field.render(run.views[0].camera.image_rays()).rgb).all()


def test_colmap_with_smaller_photos_only(colmap_run, tmp_path):
    config, views = colmap_run
    small = tmp_path / "data/images_2"
    small.mkdir()
    for photo in (tmp_path / "data/images").glob("*.png"):
        Image.open(photo).resize((16, 12)).save(small / photo.name)
    run = open_run(config, device="cpu")
    assert {view.image_path.parent.name for view in run.views} == {"images"}, "the largest"
    shutil.rmtree(tmp_path / "data/images")
    run = open_run(config, device="cpu")
    assert {view.image_path.parent.name for view in run.views} == {"images_2"}
    check_same_cameras(run.views, views, factor=2)


def test_colmap_without_its_model_is_refused_by_name(colmap_run, tmp_path):
    config, _ = colmap_run
    shutil.rmtree(tmp_path / "data/colmap")
    with pytest.raises(SA3DError, match=r"cannot be read by ColmapDataParserConfig"):
        open_run(config, device="cpu")


@pytest.mark.parametrize("file", sorted(CHECKPOINTS.glob("*.ckpt")), ids=lambda path: path.stem)
def test_checkpoints_of_other_versions_of_torch(file):
    """Written by those versions, with the states of Adam and a scheduler: see ``save.py``."""
    weights = read_model_weights(file)
    assert weights.keys() == {"field.weight", "field.bias", "aabb", "max_res", "halved"}
    assert weights["field.weight"].tolist() == [[0.0, 0.125, 0.25], [0.375, 0.5, 0.625]]
    assert weights["field.bias"].tolist() == [0.5, -0.25]
    assert weights["aabb"].tolist() == [[-1.0] * 3, [1.0] * 3]
    assert int(weights["max_res"]) == 64
    torch.testing.assert_close(weights["halved"], torch.linspace(-1, 1, 8).half())


def test_the_oldest_and_the_newest_version_are_among_them():
    versions = {file.stem.partition("-")[2].rpartition(".")[0] for file in CHECKPOINTS.glob("*")}
    assert versions >= {"1.13", "2.0", "2.1", "2.4", "2.6", "2.9"}


@pytest.mark.slow
def test_a_run_opens_while_it_trains(trained_once, tmp_path):
    """Stock ns-train, which keeps its latest checkpoint only, and replaces it all the time."""
    shutil.copytree(trained_once / "data", tmp_path / "data")
    options = [
        "--data=data", "--output-dir=outputs", "--experiment-name=live", "--timestamp=run",
        "--machine.device-type=cpu", "--mixed-precision=False", "--vis=tensorboard",
        "--max-num-iterations=40", "--steps-per-save=4", "--save-only-latest-checkpoint=True",
        "--steps-per-eval-batch=1000", "--steps-per-eval-image=1000",
        "--steps-per-eval-all-images=1000", "--logging.profiler=none",
        "--pipeline.datamanager.train-num-rays-per-batch=64",
        "--pipeline.model.implementation=torch", "--pipeline.model.num-levels=4",
        "--pipeline.model.log2-hashmap-size=16", "--pipeline.model.num-nerf-samples-per-ray=8",
        "--pipeline.model.num-proposal-samples-per-ray", "16", "8",
    ]  # fmt: skip
    home = {"TORCH_HOME": str(trained_once / "torch_home")}
    training = subprocess.Popen(
        [str(SCRIPTS / "ns-train"), "nerfacto", *options],
        cwd=tmp_path,
        env={**environment(), **home},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    config = tmp_path / "outputs/live/nerfacto/run/config.yml"
    models = config.parent / "nerfstudio_models"
    opened, refused = [], []
    try:
        until = time.monotonic() + 240
        while training.poll() is None:
            assert time.monotonic() < until
            try:
                opened.append(read_checkpoint(models)[1])
                if len(opened) == 1:
                    assert open_run(config, device="cpu").views
            except SA3DError as error:
                refused.append((len(opened), str(error)))
    finally:
        training.kill()
        stderr = training.communicate()[1]
    assert training.returncode == 0, stderr[-3000:]
    assert len(opened) > 3
    assert len({float(one["field.mlp_base.model.0.hash_table"].sum()) for one in opened}) > 1
    assert not [one for one in refused if one[0]], "refused after it had been opened before"
    known = ("no checkpoint", "is damaged or cut short")  # the first one, while it is written
    assert all(any(words in message for words in known) for _, message in refused), refused


def test_info_on_a_folder_above_a_run(tiny_run, tmp_path, capsys):
    assert main(["info", str(tmp_path / "outputs")]) == 0
    assert "nerfacto run" in capsys.readouterr().out


def test_every_command_that_opens_a_run_takes_a_step():
    from nerfstudio_plugin.cli import options, prepare, segment, view

    for command in (prepare.Prepare, segment.Segment, view.View):
        names = options.option_names(command)
        assert {"load_config", "load_step", "data", "fields.tcnn"} <= names, command
