"""ns-train takes an exported training set as it is, and samples pixels of the masks only."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.data.pixel_samplers import PixelSamplerConfig
from nerfstudio.data.utils.nerfstudio_collate import nerfstudio_collate
from ns_commands import ns
from PIL import Image

SMALL = {
    "num-levels": 4,
    "log2-hashmap-size": 10,
    "max-res": 64,
    "num-nerf-samples-per-ray": 12,
    "hidden-dim": 16,
    "hidden-dim-color": 16,
    "implementation": "torch",
}


@pytest.fixture
def training_set(command_line, ball):
    """Everything but the ball, as ``sa3d export masks --layout nerfstudio`` writes it."""
    command_line.succeeds(
        *("export", "masks", "--segmentation", ball, "--output", "without_ball"),
        *("--layout", "nerfstudio", "--keep", "rest"),
    )
    return command_line.folder / "without_ball"


def test_only_pixels_of_the_masks_are_sampled(training_set):
    config = NerfstudioDataParserConfig(data=training_set, downscale_factor=1)
    dataset = InputDataset(config.setup().get_dataparser_outputs("train"))
    masks = []
    for path in dataset.image_filenames:
        with Image.open(training_set / "masks" / path.name) as image:
            masks.append(np.asarray(image) == 255)
    share = np.mean(masks)
    assert 0.5 < share < 0.99  # so that 5,120 pixels would not all lie there by chance
    batch = nerfstudio_collate([dataset[index] for index in range(len(dataset))])
    sampled = PixelSamplerConfig(num_rays_per_batch=5120).setup().sample(batch)
    camera, y, x = sampled["indices"].T
    assert torch.from_numpy(np.stack(masks))[camera, y, x].all()


@pytest.mark.slow
def test_ns_train_trains_on_it(training_set, trained_once, monkeypatch):
    monkeypatch.setitem(os.environ, "TORCH_HOME", str(trained_once / "torch_home"))
    printed = ns(
        "ns-train",
        "nerfacto",
        f"--data={training_set}",
        "--output-dir=outputs",
        "--timestamp=run",
        "--vis=tensorboard",
        "--machine.device-type=cpu",
        "--max-num-iterations=5",
        "--pipeline.datamanager.train-num-rays-per-batch=64",
        "--pipeline.datamanager.eval-num-rays-per-batch=64",
        *(f"--pipeline.model.{name}={value}" for name, value in SMALL.items()),
        cwd=training_set.parent,
    )
    assert "Training Finished" in printed
    run = training_set.parent / "outputs" / "without_ball" / "nerfacto" / "run"
    assert len(list((run / "nerfstudio_models").glob("*.ckpt"))) == 1


def test_manifest_says_what_is_white(training_set):
    manifest = json.loads(Path(f"{training_set}.manifest.json").read_text())
    assert manifest["result"] == {
        "layout": "nerfstudio",
        "views": 12,
        "white": "rest",
        "cameras": "run",  # the analytic scene has no transforms.json
    }
