"""Opens a trained run by its ``config.yml``: frozen model, cameras and photos.

Nerfstudio's ``eval_setup`` is not used: it starts a data manager, downloads the weights of the
image metric LPIPS, looks for the checkpoint below the working directory, fails on the optimizer
state with torch >= 2.6, and loads weights that do not fit without an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor

from nerfstudio_plugin.fields.config import FieldsConfig
from nerfstudio_plugin.fields.model_field import ModelField
from nerfstudio_plugin.fields.registry import Method, find_method
from nerfstudio_plugin.runs.checkpoint_file import implementation_of, read_checkpoint
from nerfstudio_plugin.runs.config_file import read_run_config
from nerfstudio_plugin.runs.devices import torch_device
from nerfstudio_plugin.runs.model_building import build_model
from nerfstudio_plugin.runs.run_folder import checkpoint_step, find_config
from nerfstudio_plugin.runs.views import RunData, locate_data, make_views, parse_data
from nerfstudio_plugin.runs.weight_layouts import adopt
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.hub.memory import enough_memory
from sa3d.scene.views import View
from sa3d.tcnn.parameter_vector import ParameterVector


@dataclass(frozen=True)
class Run:
    """A trained run, opened for segmentation.

    Attributes:
        field: the frozen radiance field.
        views: all views of the data set, sorted by file name.
        dataparser_transform: [3, 4], from the original frame to the world frame, before scaling.
        dataparser_scale: world units per unit of the original frame.
        config: the run's config.
        model: the Nerfstudio model the field renders, in evaluation mode.
        load_config: the run's ``config.yml``.
        checkpoint_path: the checkpoint that was read.
        data: folder of the photos and cameras.
        device: where the field is evaluated.
    """

    field: ModelField[Any]
    views: tuple[View, ...]
    dataparser_transform: Tensor
    dataparser_scale: float
    config: TrainerConfig
    model: Model
    load_config: Path
    checkpoint_path: Path
    data: Path
    device: torch.device

    @property
    def tcnn(self) -> Literal["torch", "native"] | None:
        """The implementation of tiny-cuda-nn that evaluates the model; None if it has no part."""
        if any(isinstance(module, ParameterVector) for module in self.model.modules()):
            return "torch"
        return "native" if implementation_of(self.model.state_dict()) == "tcnn" else None


def open_run(
    load_config: Path,
    *,
    data: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    step: int | None = None,
    fields: FieldsConfig | None = None,
) -> Run:
    """Open a trained run.

    Args:
        load_config: the run's ``config.yml``, or a folder that holds it (see ``find_config``).
        data: folder of the photos and cameras, if it is not the one in the config.
        device: where the field is evaluated; "auto" takes a GPU if there is one.
        step: training step of the checkpoint; None takes the latest.
        fields: how the model is evaluated.

    Raises:
        SA3DError: a problem with the run that the user can solve.
    """
    load_config = find_config(Path(load_config))
    config = read_run_config(load_config)
    field_class = _find_method(config, load_config).field_class()
    field_class.check_config(config.pipeline.model)
    checkpoint, weights = read_checkpoint(load_config.parent / config.relative_model_dir, step)
    field_class.fit_config(config.pipeline.model, weights)
    data = locate_data(config, load_config, None if data is None else Path(data))
    parsed = parse_data(config, data)
    _check_frame(parsed.train, load_config, data)
    model = _load_model(config, parsed, checkpoint, weights, fields or FieldsConfig(), device)
    behind = 255 if getattr(model.config, "background_color", "white") == "white" else 0
    views = make_views(parsed, _pose_corrections(model), (behind, behind, behind))
    field = field_class(model)
    return Run(
        field=field,
        views=views,
        dataparser_transform=parsed.train.dataparser_transform,
        dataparser_scale=float(parsed.train.dataparser_scale),
        config=config,
        model=model,
        load_config=load_config,
        checkpoint_path=checkpoint,
        data=data,
        device=field.device,
    )


def _find_method(config: TrainerConfig, load_config: Path) -> Method:
    target = getattr(getattr(config.pipeline, "model", None), "_target", None)
    if base := getattr(config.pipeline, "base_config", None):
        raise SA3DError(
            f"{load_config} is a segmentation, not a trained run: give the run it was made in, "
            f"{base}"
        )
    if not isinstance(target, type):
        raise SA3DError(f"{load_config} names no model: it is not a trained run")
    return find_method(target, config.method_name or "unknown")


def _check_frame(train: DataparserOutputs, load_config: Path, data: Path) -> None:
    """Check that the cameras lie in the world frame that the field was trained in.

    Nerfstudio centres and scales all cameras together, so other data has another world frame.

    Raises:
        SA3DError: the frames differ.
    """
    saved = load_config.parent / "dataparser_transforms.json"
    if not saved.is_file():
        return
    try:
        frame = read_json(saved, remedy="restore or remove it")
        transform, scale = torch.tensor(frame["transform"]), float(frame["scale"])
    except (ValueError, LookupError, TypeError, RuntimeError) as error:
        raise SA3DError(f"{saved} cannot be read ({error}); restore or remove it") from error
    same = transform.shape == train.dataparser_transform.shape and torch.allclose(
        transform, train.dataparser_transform.to(transform), rtol=1e-3, atol=1e-4
    )
    if not same or abs(scale / train.dataparser_scale - 1) > 1e-3:
        raise SA3DError(
            f"the cameras of {data} are not those the run was trained on (they differ from "
            f"{saved}); give 'data': the data set of the training"
        )


def _load_model(
    config: TrainerConfig,
    parsed: RunData,
    checkpoint: Path,
    weights: dict[str, Tensor],
    fields: FieldsConfig,
    device: Literal["auto", "cpu", "cuda"],
) -> Model:
    model_config = config.pipeline.model
    assert isinstance(model_config, ModelConfig)
    photos = len(parsed.train.image_filenames)
    trained_photos = _number_of_training_photos(weights)
    if trained_photos not in (None, photos):
        raise SA3DError(
            f"the run was trained on {trained_photos} photos, {parsed.data} has {photos} to train "
            "on; give 'data': the data set of the training"
        )
    poses = parsed.train.cameras.camera_to_worlds
    weights = adopt(config.pipeline, weights, poses, parsed.data)
    place = torch.device(torch_device(device))
    try:
        with enough_memory("to open the run", "close other programs"):
            step = checkpoint_step(checkpoint.name) or 0
            return build_model(model_config, weights, parsed.train, fields.tcnn, place, step)
    except (RuntimeError, AttributeError, AssertionError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:600]
        raise SA3DError(
            f"{checkpoint} does not fit its config.yml under this Nerfstudio ({reason}); use the "
            "Nerfstudio version the run was trained with"
        ) from error


def _number_of_training_photos(weights: dict[str, Tensor]) -> int | None:
    for key in ("field.embedding_appearance.embedding.weight", "camera_optimizer.pose_adjustment"):
        if key in weights:
            return weights[key].shape[0]
    return None


def _pose_corrections(model: Model) -> Tensor | None:
    """Return how training moved the cameras, [training photos, 3, 4]; None if it did not."""
    optimizer = getattr(model, "camera_optimizer", None)
    if optimizer is None or optimizer.config.mode == "off":
        return None
    with torch.no_grad():
        return optimizer.get_correction_matrices().cpu()
