"""Nerfstudio's own commands, as users run them: ns-train sa3d, ns-render and ns-viewer."""

import hashlib
import shutil

import numpy as np
import pytest
import torch
from ns_commands import free_port, ns, shown_by_viewer
from PIL import Image

from nerfstudio_plugin.display.settings import MODES
from sa3d.objects.checkpoint import load_segmentation

OUTPUTS = ("rgb", "mask", "object_rgb", "removed_rgb", "overlay", "rgba")

pytestmark = pytest.mark.slow


def hash_of_weights(run):
    """SHA-256 of the NeRF's weights, tensor by tensor, and of the checkpoint file itself."""
    (file,) = (run / "nerfstudio_models").glob("*.ckpt")
    digest = hashlib.sha256(file.read_bytes())
    state = torch.load(file, map_location="cpu", weights_only=False)["pipeline"]
    for name, tensor in sorted(state.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def trained(trained_once, tmp_path_factory):
    """A segmentation made by ns-train: its folder, what was printed, and the NeRF's hashes."""
    folder = tmp_path_factory.mktemp("sa3d")
    for name in ("data", "outputs"):
        shutil.copytree(trained_once / name, folder / name)
    base = folder / "outputs/tiny/nerfacto/run"
    mask = np.zeros((24, 32), dtype=np.uint8)
    mask[6:18, 8:24] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    before = hash_of_weights(base)
    printed = ns(
        "ns-train",
        "sa3d",
        "--pipeline.base-config=outputs/tiny/nerfacto/run/config.yml",
        "--pipeline.view=frame_003.png",
        "--pipeline.mask=mask.png",
        "--pipeline.prepare.resolution=24",
        "--pipeline.prepare.ray-side=16",
        "--pipeline.loop.prior=0.3",
        "--pipeline.loop.convergence.max-rounds=1",
        "--timestamp=test",
        f"--viewer.websocket-port={free_port()}",
        "--viewer.quit-on-train-completion=True",
        cwd=folder,
    )
    return folder / "outputs/tiny/sa3d/test", printed, (before, hash_of_weights(base))


def test_training_shows_progress_and_saves(trained):
    run, printed, _ = trained
    assert "prepared (8 of 8 views)" in printed
    assert "frame_003.png: prompted" in printed
    assert "round 1 done" in printed
    assert "Training Finished" in printed
    segmentation = load_segmentation(run / "segmentation").segmentation
    assert segmentation.prior == 0.3
    (checkpoint,) = (run / "nerfstudio_models").glob("step-*.ckpt")
    torch.load(checkpoint, weights_only=True)


def test_training_leaves_the_nerf_as_it_was(trained):
    _, _, (before, after) = trained
    assert before == after


def test_the_hash_notices_one_changed_weight(trained_once, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_once / "outputs/tiny/nerfacto/run", run)
    before = hash_of_weights(run)
    (file,) = (run / "nerfstudio_models").glob("*.ckpt")
    content = torch.load(file, weights_only=False)
    content["pipeline"]["_model.field.mlp_head.layers.0.weight"][0, 0] += 1e-3
    torch.save(content, file)
    assert hash_of_weights(run) != before


def test_ns_render_knows_the_extra_outputs(trained, tmp_path):
    run, _, _ = trained
    ns(
        "ns-render",
        "dataset",
        f"--load-config={run / 'config.yml'}",
        f"--output-path={tmp_path / 'renders'}",
        "--split=train+test",
        "--image-format=png",
        "--rendered-output-names",
        *OUTPUTS,
        cwd=tmp_path,  # opens from anywhere
    )
    images = {}
    for name in OUTPUTS:
        files = sorted((tmp_path / "renders/test" / name).glob("*.png"))
        assert [file.name for file in files] == ["frame_000.png", "frame_004.png"]
        files += sorted((tmp_path / "renders/train" / name).glob("*.png"))
        images[name] = np.stack([np.asarray(Image.open(file)).astype(int) for file in files])
    assert images["removed_rgb"][0].shape == (24, 32, 3)  # much like rgb: all is grey fog here
    for name in ("mask", "object_rgb", "overlay"):
        assert images[name][0].shape == (24, 32, 3)
        assert np.abs(images[name] - images["rgb"]).max() > 8, name
    assert images["rgba"][0].shape == (24, 32, 4)


def test_ns_viewer_shows_the_panel_and_the_object(trained, tmp_path):
    run, _, _ = trained
    picture, choices = shown_by_viewer(
        run / "config.yml", (3.0, 0.0, 0.1), "1. frame_003.png: mask", tmp_path
    )
    assert picture is not None
    assert picture.std() > 0
    assert set(MODES) in choices
    assert {"object"} in choices
