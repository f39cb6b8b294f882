"""The pipeline of ns-train sa3d, driven step by step as a trainer drives it."""

import ast
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.plugins.types import MethodSpecification
from PIL import Image

from nerfstudio_plugin.cli.options import SavedOptions
from nerfstudio_plugin.runs.opening import open_run
from nerfstudio_plugin.train import config as config_module
from nerfstudio_plugin.train.config import SA3DTrainerConfig, sa3d_method
from nerfstudio_plugin.train.pipeline import SA3DPipelineConfig
from sa3d.base.errors import SA3DError
from sa3d.loop.config import ConvergenceConfig
from sa3d.loop.object_loop import LoopConfig
from sa3d.objects.checkpoint import load_segmentation
from sa3d.scene.config import PrepareConfig

VIEWS = 8

pytestmark = [  # Nerfstudio leaves images open, and wants more workers than small machines have
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO"),
]


@pytest.fixture
def mask_file(tmp_path):
    mask = np.zeros((24, 32), dtype=np.uint8)
    mask[6:18, 8:24] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.fixture
def settings(tiny_run, mask_file):
    return SA3DPipelineConfig(
        base_config=tiny_run,
        view="frame_003.png",
        mask=mask_file,
        object="lump",
        prepare=PrepareConfig(resolution=24, ray_side=16),
        loop=LoopConfig(convergence=ConvergenceConfig(max_rounds=1)),
    )


def trainer_of(pipeline, folder, **options):
    """The part of Nerfstudio's trainer that the pipeline uses."""
    config = SA3DTrainerConfig(
        method_name="sa3d", timestamp="run", output_dir=folder, pipeline=pipeline.config, **options
    )
    return SimpleNamespace(
        config=config, base_dir=config.get_base_dir(), pipeline=pipeline, stop_training=False
    )


def callbacks_of(trainer):
    attributes = TrainingCallbackAttributes(None, None, trainer.pipeline, trainer)  # type: ignore
    return trainer.pipeline.get_training_callbacks(attributes)


def train(pipeline, trainer):
    """Steps until the pipeline stops the trainer; how many there were."""
    callbacks = callbacks_of(trainer)
    steps = 0
    while not trainer.stop_training:
        pipeline.train()
        _, losses, _ = pipeline.get_train_loss_dict(steps)
        losses["disagreement"].backward()  # as the trainer does
        steps += 1
        assert steps < 100
    for callback in callbacks:
        callback.run_callback_at_location(steps, TrainingCallbackLocation.AFTER_TRAIN)
    return steps


def test_one_step_is_one_view(settings, tmp_path, capsys):
    pipeline = settings.setup(device="cpu")
    trainer = trainer_of(pipeline, tmp_path / "out", max_num_iterations=10**9)
    weights = {k: v.clone() for k, v in open_run(settings.base_config).model.state_dict().items()}
    prepared = VIEWS
    visited = VIEWS  # the prompted view once, every other view once
    assert train(pipeline, trainer) <= prepared + visited + 2
    printed = capsys.readouterr().out
    assert f"[{prepared}/" in printed
    assert f"prepared ({VIEWS} of {VIEWS} views)" in printed
    assert "frame_003.png: prompted" in printed
    assert "round 1 done" in printed
    used = pipeline.model._run[0].model
    assert not used.training
    for name, weight in used.state_dict().items():
        assert torch.equal(weight, weights[name])
        assert weight.grad is None


def test_a_run_leaves_a_segmentation_and_a_complete_config(settings, tmp_path):
    pipeline = settings.setup(device="cpu")
    trainer = trainer_of(pipeline, tmp_path / "out")
    train(pipeline, trainer)
    saved = load_segmentation(trainer.base_dir / "segmentation")
    assert list(saved.segmentation.objects) == ["lump"]
    assert Path(saved.provenance["load_config"]) == settings.base_config.resolve()
    again = SavedOptions(segmentation=trainer.base_dir / "segmentation").reopen()  # sa3d export
    assert list(again.segmentation.objects) == ["lump"]
    assert trainer.base_dir == tmp_path / "out/tiny/sa3d/run"  # named after the base run
    written = (trainer.base_dir / "config.yml").read_text()
    assert "NerfstudioDataParserConfig" in written
    assert trainer.config.pipeline.datamanager.data.is_absolute()
    with pytest.raises(
        SA3DError, match=r"is a segmentation, not a trained run: give the run .*nerfacto"
    ):
        open_run(trainer.base_dir / "config.yml")


def test_a_limit_of_steps_holds(settings, tmp_path):
    pipeline = settings.setup(device="cpu")
    trainer = trainer_of(pipeline, tmp_path / "out", max_num_iterations=3)
    callbacks_of(trainer)
    assert trainer.config.max_num_iterations == 3


def test_stopping_before_the_object_is_lifted(settings, tmp_path, capsys):
    pipeline = settings.setup(device="cpu")
    trainer = trainer_of(pipeline, tmp_path / "out")
    (callback,) = callbacks_of(trainer)
    pipeline.get_train_loss_dict(0)
    assert pipeline.state_dict() == {}
    callback.run_callback_at_location(0, TrainingCallbackLocation.AFTER_TRAIN)
    assert "nothing to save" in capsys.readouterr().out
    assert not (trainer.base_dir / "segmentation").exists()
    opened = settings.setup(device="cpu", test_mode="test")
    with pytest.raises(SA3DError, match="stopped before the object was lifted"):
        opened.load_pipeline({}, 0)


def test_a_checkpoint_shows_the_same_as_the_training(settings, tmp_path):
    pipeline = settings.setup(device="cpu")
    train(pipeline, trainer_of(pipeline, tmp_path / "out"))
    torch.save({"pipeline": pipeline.state_dict()}, tmp_path / "x.ckpt")
    assert (tmp_path / "x.ckpt").stat().st_size < 1e6  # the NeRF is not in it
    state = torch.load(tmp_path / "x.ckpt", weights_only=True)["pipeline"]
    opened = settings.setup(device="cpu", test_mode="test").eval()
    opened.load_pipeline(state, 17)
    cameras = opened.datamanager.train_dataset.cameras
    first, second = (p.model.get_outputs_for_camera(cameras[:1]) for p in (pipeline, opened))
    assert first["mask"].max() > 0
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    metrics = opened.get_average_eval_image_metrics()
    assert metrics["psnr"] > 0
    assert 0 <= metrics["object_share"] <= 1
    rays, batch = opened.datamanager.next_train(0)
    assert len(rays) == len(batch["image"]) == 1024


def test_another_base_run_is_refused(settings, tmp_path):
    pipeline = settings.setup(device="cpu")
    train(pipeline, trainer_of(pipeline, tmp_path / "out"))
    state = pipeline.state_dict()
    checkpoint = open_run(settings.base_config).checkpoint_path
    content = torch.load(checkpoint, weights_only=False)
    content["pipeline"]["_model.field.mlp_head.layers.0.weight"][0] += 1
    torch.save(content, checkpoint)
    opened = settings.setup(device="cpu", test_mode="inference")
    with pytest.raises(SA3DError, match="has changed since it was segmented"):
        opened.load_pipeline(state, 0)


def test_a_segmentation_is_not_trained_further(settings):
    with pytest.raises(SA3DError, match="cannot be trained further"):
        settings.setup(device="cpu").load_pipeline({}, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_config": None}, "give --pipeline.base-config"),
        ({"base_config": Path("nowhere/config.yml")}, "nowhere/config.yml does not exist"),
        ({"mask": None}, "no prompt given"),
        ({"view": None}, "'view' is missing"),
        ({"view": "frame_9.png"}, "no view is called 'frame_9.png'"),
        ({"mask": None, "points": ("40,3",)}, "lies outside the image"),
        ({"segmenter": "magic"}, "unknown segmenter 'magic'"),
        ({"mask": None, "text": "mug"}, "hf download IDEA-Research/grounding-dino-tiny"),
    ],
)
def test_bad_input_is_refused_before_work_begins(settings, changes, message):
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(SA3DError, match=message):
        settings.setup(device="cpu")


def test_several_gpus_are_refused(settings):
    with pytest.raises(SA3DError, match="runs on one GPU"):
        settings.setup(device="cpu", world_size=2)


def test_the_method_is_registered():
    (entry,) = entry_points(group="nerfstudio.method_configs", name="sa3d")
    assert entry.load() is sa3d_method
    assert isinstance(sa3d_method, MethodSpecification)
    assert sa3d_method.config.method_name == "sa3d"
    assert sa3d_method.config.viewer.websocket_host == "127.0.0.1"


def test_registering_does_not_import_the_list_of_methods():
    """That list imports the plugin: a circle, which would break every Nerfstudio command."""
    code = (
        "import sys, nerfstudio_plugin.train.config;"
        "sys.exit('nerfstudio.configs.method_configs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
    for file in Path(config_module.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("nerfstudio.configs.method_configs",), file
