"""The pipeline of ``ns-train sa3d``: one trainer step is one view prepared or visited."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from nerfstudio.engine.callbacks import (
    TrainingCallback,
    TrainingCallbackAttributes,
    TrainingCallbackLocation,
)
from nerfstudio.engine.trainer import Trainer
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.viewer_elements import ViewerControl
from torch import Tensor
from torch.nn import Parameter

from nerfstudio_plugin.api.models import detector_for
from nerfstudio_plugin.api.opening import open as open_run
from nerfstudio_plugin.api.prompt_options import PromptOptions
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.fields.config import FieldsConfig
from nerfstudio_plugin.runs.datamanager import SA3DDataManager, SA3DDataManagerConfig
from nerfstudio_plugin.train.model import SA3DModel, SA3DModelConfig
from nerfstudio_plugin.train.steps import SegmentingSteps
from nerfstudio_plugin.viewer.panel import (
    DEFAULT_FOLDER,
    PanelBackend,
    SegmentPanel,
    training_backend,
    viewing_backend,
)
from nerfstudio_plugin.viewer.server_guard import guard_viewers
from nerfstudio_plugin.viewer.state import Listeners
from sa3d.base.errors import SA3DError
from sa3d.base.printable import printable
from sa3d.loop.object_loop import LoopConfig
from sa3d.loop.settings import Settings
from sa3d.scene.config import PrepareConfig
from sa3d.segmenters.registry import AUTO

SEGMENTATION_FOLDER = "segmentation"
"""Folder of a finished run's segmentation, beside its ``config.yml``."""


@dataclass
class SA3DPipelineConfig(PromptOptions, VanillaPipelineConfig):
    """Settings of ``ns-train sa3d``: the run to segment in, the prompts, and the loop."""

    _target: type = field(default_factory=lambda: SA3DPipeline)
    datamanager: SA3DDataManagerConfig = field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default_factory=SA3DDataManagerConfig
    )
    model: SA3DModelConfig = field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default_factory=SA3DModelConfig
    )
    base_config: Path | None = None
    """config.yml of the trained run to segment in. Required."""
    base_step: int | None = None
    """Training step of the base run's checkpoint; the latest one by default."""
    fields: FieldsConfig = field(default_factory=FieldsConfig)
    cache_dir: Path | None = None
    """Folder of scene caches; sa3d_cache beside the base run's config.yml by default."""
    segmenter: str = AUTO
    """auto (the best one on this machine), graphcut (embedded, needs no weights), a short name such
    as sam2.1-tiny ("sa3d segmenters" lists them), a hub id, or a folder with weights."""
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    segmentation: Path = DEFAULT_FOLDER
    """Folder of the viewer's session: opened if it exists, and saved to. ns-train sets its own."""
    output_dir: Path | None = None
    """The viewer's panel reads and writes below this folder only; the base run's by default."""


class SA3DPipeline(VanillaPipeline):
    """Segments objects in a trained run while "training", and shows the result afterwards."""

    config: SA3DPipelineConfig

    def __init__(
        self,
        config: SA3DPipelineConfig,
        device: str | torch.device,
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        grad_scaler: Any = None,
    ) -> None:
        """Open the base run, and with ``test_mode`` "val" (ns-train) check the prompts.

        Raises:
            SA3DError: the run or the prompts have a problem that the user can solve.
        """
        torch.nn.Module.__init__(self)
        guard_viewers()  # Nerfstudio starts its viewer after the pipeline
        if world_size > 1:
            raise SA3DError("ns-train sa3d runs on one GPU: give --machine.num-devices 1")
        if config.base_config is None:
            raise SA3DError(
                "no scene to segment in: give --pipeline.base-config with the config.yml of a "
                "trained run"
            )
        self.config, self.test_mode, self.world_size = config, test_mode, world_size
        torch_device = _device(device)
        self._steps: SegmentingSteps | None = None
        self._trainer: Trainer | None = None
        prompts = config.read_prompts() if test_mode == "val" else []
        self.opened = open_run(
            config.base_config,
            Settings(config.segmenter, config.prepare, config.loop),
            data=config.datamanager.data,
            cache_dir=config.cache_dir,
            device=torch_device,
            load_step=config.base_step,
            tcnn=config.fields.tcnn,
        )
        run = self.opened.run
        if test_mode == "val":
            self._print_segmenter()
            config.segmenter = self.opened.chosen.name
            detector = detector_for(prompts, config.detector, torch_device)
            self._steps = SegmentingSteps(self.opened, prompts, self._show, detector, config.words)
        config.datamanager.describe(run)
        own = deepcopy(config.datamanager)  # the data manager writes tensors into its config
        self.datamanager: SA3DDataManager = (  # pyright: ignore[reportIncompatibleVariableOverride]
            own.setup(device=torch_device, test_mode=test_mode)
        )
        self._model = SA3DModel(config.model, run, self._steps.names if self._steps else [])
        self._fingerprint = run.field.fingerprint
        self._work = self._steps.run() if self._steps else iter(())
        self._loaded = False
        self.viewer_control = ViewerControl()
        self.panel = SegmentPanel(self._open_panel, self._show_in_viewer, self.viewer_control)

    def _open_panel(self, listeners: Listeners) -> PanelBackend:
        """Open the panel's backend, once a viewer shows the panel."""
        output_dir = (self.config.output_dir or self.opened.run.load_config.parent).resolve()
        folder = output_dir / self.config.segmentation  # unless that is absolute
        if self._steps is not None:
            backend = training_backend(self.opened, folder, output_dir, listeners)
            self._steps.attach_panel(backend.studio)
            return backend
        self._print_segmenter()
        return viewing_backend(self.opened, folder, output_dir, self.config.detector, listeners)

    def _print_segmenter(self) -> None:
        if sentence := self.opened.chosen.sentence:
            _print_line(sentence)

    def _show_in_viewer(self, shown: ShownObjects | None, display: Display) -> None:
        """Show the panel's objects, or the checkpoint's as long as the panel has none."""
        assert isinstance(self._model, SA3DModel)
        if shown is not None:
            self._loaded = False
            self._model.show(shown)
        nothing = shown is None and not self._loaded
        self._model.display = replace(display, mode="scene") if nothing else display

    def _show(self, shown: ShownObjects) -> None:
        assert isinstance(self._model, SA3DModel)
        self._model.show(shown)

    def get_train_loss_dict(
        self, step: int
    ) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
        """Prepare or visit the next view; stop the trainer after the last.

        Returns:
            No outputs; as loss the disagreement of the view's mask with the other views, which
            optimizes nothing; no metrics.
        """
        done = next(self._work, None)
        disagreement = 0.0
        if done is not None:
            disagreement, most = done.disagreement, self._steps.max_steps if self._steps else 0
            for line in done.text.splitlines():
                _print_line(f"[{step + 1}/{most}] {line}")
        elif self._trainer is not None:
            self._trainer.stop_training = True
        loss = torch.tensor(disagreement, device=self.device, requires_grad=True)
        return {}, {"disagreement": loss}, {}

    def get_eval_loss_dict(
        self, step: int
    ) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
        """Return a loss of 0: the loop itself measures held-out views."""
        return {}, {"disagreement": torch.zeros((), device=self.device)}, {}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Complete the run's config.yml, and save the segmentation when training ends."""
        trainer = training_callback_attributes.trainer
        assert trainer is not None
        assert self._steps is not None
        self._trainer = trainer
        self._complete_config(trainer)
        return [
            TrainingCallback(
                where_to_run=[TrainingCallbackLocation.AFTER_TRAIN],
                func=lambda step: self._finish(),
            )
        ]

    def _complete_config(self, trainer: Trainer) -> None:
        """Write absolute paths into config.yml: Nerfstudio's other commands open only this file."""
        assert self._steps is not None
        assert self.config.base_config is not None
        self.config.base_config = self.config.base_config.resolve()
        trainer.config.output_dir = trainer.config.output_dir.resolve()
        self.config.output_dir = trainer.base_dir.resolve()
        self.config.segmentation = self.config.output_dir / SEGMENTATION_FOLDER
        if self.panel.studio is not None:  # built before the folder was known
            self.panel.studio.record_saved(self.config.segmentation)
        trainer.config.max_num_iterations = min(
            trainer.config.max_num_iterations, self._steps.max_steps + 1
        )
        trainer.config.save_config()

    def _finish(self) -> None:
        assert self._steps is not None
        if self._steps.lifted:
            self._steps.opened.save(self.config.segmentation, overwrite=True)
            _print_line(f"Segmentation saved to {self.config.segmentation}")
        else:
            _print_line("Stopped before the object was lifted: nothing to save.")
        self._steps.start_panel_worker()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Return the objects as tensors, without the field, which stays in its own run."""
        assert isinstance(self._model, SA3DModel)
        return {} if self._model.shown is None else self._model.shown.tensors()

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        """Show the objects of a checkpoint.

        Raises:
            SA3DError: the checkpoint is incomplete, or the base run has changed.
        """
        shown = ShownObjects.from_tensors(state_dict, self.model.device)
        if shown.field != self._fingerprint:
            raise SA3DError(
                f"the run {self.config.base_config} has changed since it was segmented (other "
                "weights or settings): restore it, or segment again"
            )
        self._show(shown)
        self._loaded = True

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Show the objects of a checkpoint.

        Raises:
            SA3DError: see ``load_state_dict``; or ns-train was asked to continue training it.
        """
        if self.test_mode == "val":
            raise SA3DError(
                "a segmentation cannot be trained further: run ns-train sa3d again without "
                "--load-dir and --load-checkpoint (views prepared before are kept)"
            )
        self.load_state_dict(loaded_state)

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Return no parameters: the field is frozen."""
        return {}


def _device(device: str | torch.device) -> Literal["cpu", "cuda"]:
    wants_gpu = torch.device(device).type == "cuda"
    return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"


def _print_line(line: str) -> None:
    """Print a line without markup, as names of files may look like it."""
    CONSOLE.print(printable(line), markup=False, highlight=False, soft_wrap=True)
