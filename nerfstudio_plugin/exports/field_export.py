"""Write a run that shows only objects, or the scene without them."""

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
"""Longest side, in pixels, of the images that check if something is visible."""


@dataclass
class MaskedFieldConfig(TrainerConfig):
    """The ``config.yml`` of an exported field, in one folder with all of its files."""

    folder: Path = Path()
    """Absolute path of the folder in which it was written."""

    def get_base_dir(self) -> Path:
        """Return the run's folder.

        If the folder was moved, return the folder of the same name in the working directory, or the
        working directory itself.
        """
        places = (self.folder, Path(self.folder.name), Path())
        there = (place for place in places if (place / self.relative_model_dir).is_dir())
        return next(there, self.folder)


@dataclass(frozen=True)
class FieldExportConfig:
    """Settings for an exported field."""

    keep: Keep = "object"
    """object: only the objects; rest: the scene without them."""
    background: Literal["white", "black"] = "white"
    """Background of the objects; the scene without them keeps the background of its training."""


@dataclass(frozen=True)
class ExportedField:
    """A written field.

    Attributes:
        config: path of its ``config.yml``.
        checkpoint: path of the weights.
        visible: share of the views' pixels that show the objects; None for the rest.
        has_normals: True if it renders normals.
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

    The folder contains the NeRF's weights, so the original run is not needed any more. The photos
    and cameras of its data set still are.

    Args:
        run: original run; it is not changed.
        blocks: volumes of the objects.
        folder: of the new run; appears complete or not at all.
        config: settings.
        overwrite: replace a folder that exists, if an exported field is in it.

    Raises:
        SA3DError: nothing would be visible, the run is not of nerfacto, or the folder exists and
            ``overwrite`` is False.
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
    """Check a folder as ``export_field`` does, before any work is done.

    Raises:
        SA3DError: the folder exists and must not be replaced.
    """
    check_new_folder(folder, overwrite, _ours)


def _ours(entry: Path) -> bool:
    """Return True if an entry of a folder is of an exported field, and not of a trained run."""
    config = entry.parent / _CONFIG
    written = config.is_file() and MaskedFieldConfig.__name__ in config.read_text("utf8")
    if entry.is_dir():
        return written and all(file.suffix == ".ckpt" for file in entry.iterdir())
    return written and entry.name in (_CONFIG, _FRAME, _VIEWER_LOG)


def _describe(run: Run, folder: Path, config: FieldExportConfig) -> MaskedFieldConfig:
    base = run.config.pipeline.model
    if not isinstance(base, NerfactoModelConfig):
        raise SA3DError(
            f"export field writes nerfacto runs only, this is one of {run.config.method_name!r}; "
            "export a mesh or a point cloud"
        )
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
    base = run.model
    model = MaskedNerfactoModel(config, base.scene_box, base.num_train_data, device=base.device)
    model.to(base.device).load_state_dict(state)
    return model.eval()


def _visible(model: MaskedNerfactoModel, views: tuple[View, ...]) -> float:
    """Return the share of the views' pixels that show the kept part.

    Raises:
        SA3DError: the share is 0; ns-export pointcloud would search for points forever.
    """
    renders = (
        model.get_outputs_for_camera(to_nerfstudio(view.camera.fitted(_CHECKED_SIDE)))
        for view in views
    )
    visible = sum(float((one["accumulation"] > 0.5).float().mean()) for one in renders)
    if not visible:
        raise SA3DError(
            "nothing would be visible: no view shows the object alone; correct it with further "
            "prompts"
        )
    return visible / len(views)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.stem.rpartition("-")[2])
