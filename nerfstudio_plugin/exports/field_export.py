"""Writes a run of its own that shows only an object, or the scene without it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import yaml
from nerfstudio.configs.base_config import LoggingConfig, ViewerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.models.nerfacto import NerfactoModelConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig

from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.exports.masked_model import MaskedNerfactoModel, MaskedNerfactoModelConfig
from nerfstudio_plugin.runs.cameras import to_nerfstudio
from nerfstudio_plugin.runs.datamanager import SA3DDataManagerConfig
from nerfstudio_plugin.runs.opening import Run
from sa3d.base.errors import SA3DError
from sa3d.base.storage import atomic_folder, check_new_folder
from sa3d.results.config import Keep
from sa3d.scene.views import View

_CONFIG = "config.yml"
_FRAME = "dataparser_transforms.json"
_VIEWER_LOG = "viewer_log_filename.txt"
_CHECKED_SIDE = 64
"""Longest side, in pixels, of the pictures in which something must be left to see."""


@dataclass
class MaskedFieldConfig(TrainerConfig):
    """The ``config.yml`` of an exported field, which lies in one folder with everything else."""

    folder: Path = Path()
    """Where it was written to, absolute."""

    def get_base_dir(self) -> Path:
        """The run's folder; if it was moved, one of its name in the working directory, or that."""
        places = (self.folder, Path(self.folder.name), Path())
        there = (place for place in places if (place / self.relative_model_dir).is_dir())
        return next(there, self.folder)


@dataclass(frozen=True)
class FieldExportConfig:
    """What is kept, and what is shown behind it."""

    keep: Keep = "object"
    """object: the objects alone; rest: the scene without them."""
    background: Literal["white", "black"] = "white"
    """Behind objects alone; the scene keeps the background it was trained with."""


@dataclass(frozen=True)
class ExportedField:
    """What was written.

    Attributes:
        config: its ``config.yml``.
        checkpoint: the weights.
        visible: share of the photos' pixels that show the objects; None for the rest.
        has_normals: whether it renders normals.
    """

    config: Path
    checkpoint: Path
    visible: float | None
    has_normals: bool


def export_field(
    run: Run,
    blocks: Blocks,
    folder: Path,
    config: FieldExportConfig | None = None,
    *,
    overwrite: bool = False,
) -> ExportedField:
    """Write a run folder that Nerfstudio's own commands open.

    It holds the NeRF's weights, so the run it came from is not needed any more; its images and
    cameras are.

    Args:
        run: the run to cut; left as it is.
        blocks: the objects.
        folder: appears whole or not at all.

    Raises:
        SA3DError: nothing is left to see, or the folder exists and may not be replaced.
    """
    config = config or FieldExportConfig()
    folder = folder.resolve()
    refuse_field(folder, overwrite)
    described = _describe(run, folder, config)
    model_config = described.pipeline.model
    assert isinstance(model_config, MaskedNerfactoModelConfig)
    weights = {name: value.cpu().clone() for name, value in run.model.state_dict().items()}
    state = weights | {name: value.cpu() for name, value in blocks.tensors().items()}
    model = _open_model(run, model_config, state)
    visible = _visible(model, run.views) if config.keep == "object" else None
    with atomic_folder(folder, overwrite=overwrite, may_delete=_ours) as new:
        (new / _CONFIG).write_text(yaml.dump(described), "utf8")
        frame = {
            "transform": run.dataparser_transform.tolist(),
            "scale": float(run.dataparser_scale),
        }
        (new / _FRAME).write_text(json.dumps(frame, indent=4), "utf8")
        models = new / described.relative_model_dir
        models.mkdir()
        checkpoint = {
            "step": _step(run.checkpoint_path),
            "pipeline": {f"_model.{name}": value for name, value in state.items()},
            "optimizers": {},
        }
        torch.save(checkpoint, models / run.checkpoint_path.name)
    written = folder / described.relative_model_dir / run.checkpoint_path.name
    return ExportedField(folder / _CONFIG, written, visible, model_config.predict_normals)


def refuse_field(folder: Path, overwrite: bool) -> None:
    """Refuse a folder ``export_field`` would refuse, before any work is done.

    Raises:
        SA3DError: it exists and may not be replaced.
    """
    check_new_folder(folder, overwrite, _ours)


def _ours(entry: Path) -> bool:
    """Whether an entry of a folder belongs to an exported field: never to a trained run."""
    config = entry.parent / _CONFIG
    written = config.is_file() and MaskedFieldConfig.__name__ in config.read_text("utf8")
    if entry.is_dir():
        return written and all(file.suffix == ".ckpt" for file in entry.iterdir())
    return written and entry.name in (_CONFIG, _FRAME, _VIEWER_LOG)


def _describe(run: Run, folder: Path, config: FieldExportConfig) -> MaskedFieldConfig:
    base = run.config.pipeline.model
    assert isinstance(base, NerfactoModelConfig)
    model = MaskedNerfactoModelConfig.of(base, config.keep)
    if config.keep == "object":
        model.background_color = config.background
    data = SA3DDataManagerConfig()
    data.describe(run)
    return MaskedFieldConfig(
        method_name="sa3d",  # Nerfstudio's commands take the data manager's class from there
        experiment_name=folder.name,
        timestamp="field",
        folder=folder,
        output_dir=folder.parent,
        pipeline=VanillaPipelineConfig(datamanager=data, model=model),
        optimizers={},
        logging=LoggingConfig(profiler="none"),
        viewer=ViewerConfig(websocket_host="127.0.0.1"),
        vis="viewer",
    )


def _open_model(
    run: Run, config: MaskedNerfactoModelConfig, state: dict[str, torch.Tensor]
) -> MaskedNerfactoModel:
    model = MaskedNerfactoModel(config, run.model.scene_box, run.model.num_train_data)
    model.to(run.model.device).load_state_dict(state)
    return model.eval()


def _visible(model: MaskedNerfactoModel, views: tuple[View, ...]) -> float:
    """Share of the photos' pixels that show what is kept.

    Raises:
        SA3DError: none do, so that ns-export pointcloud would look for points forever.
    """
    pictures = (
        model.get_outputs_for_camera(to_nerfstudio(view.camera.fitted(_CHECKED_SIDE)))
        for view in views
    )
    visible = sum(float((one["accumulation"] > 0.5).float().mean()) for one in pictures)
    if not visible:
        raise SA3DError(
            "nothing would be left to see: no photo shows the object by itself; correct it "
            "with further prompts"
        )
    return visible / len(views)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.stem.rpartition("-")[2])
