"""Registers ``ns-train sa3d``; every Nerfstudio command imports this, so it must not raise."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, ViewerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.plugins.types import MethodSpecification

from nerfstudio_plugin.runs.config_file import read_run_config
from nerfstudio_plugin.train.pipeline import SA3DPipelineConfig
from sa3d.base.errors import SA3DError

_NEVER = 10**9


@dataclass
class SA3DTrainerConfig(TrainerConfig):
    """Nerfstudio's trainer config; the experiment is named after the base run."""

    pipeline: SA3DPipelineConfig = field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default_factory=SA3DPipelineConfig
    )

    def set_experiment_name(self) -> None:
        """Use the base run's experiment name, unless one is given."""
        if self.experiment_name is None and self.pipeline.base_config is not None:
            with suppress(SA3DError):  # the pipeline raises it again
                self.experiment_name = read_run_config(self.pipeline.base_config).experiment_name
        super().set_experiment_name()


sa3d_method = MethodSpecification(
    config=SA3DTrainerConfig(
        method_name="sa3d",
        max_num_iterations=_NEVER,
        steps_per_save=_NEVER,
        steps_per_eval_batch=_NEVER,
        steps_per_eval_image=_NEVER,
        steps_per_eval_all_images=_NEVER,
        mixed_precision=False,
        use_grad_scaler=False,
        pipeline=SA3DPipelineConfig(),
        optimizers={},
        logging=LoggingConfig(
            steps_per_log=1, local_writer=LocalWriterConfig(enable=False), profiler="none"
        ),
        viewer=ViewerConfig(websocket_host="127.0.0.1"),
        vis="viewer",
    ),
    description="Segment an object in a trained run, from a prompt in one view.",
)
"""The method, found by Nerfstudio through the entry point ``nerfstudio.method_configs``."""
