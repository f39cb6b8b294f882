"""Data manager that gives the base run's photos to Nerfstudio's commands.

Segmenting does not use it: it reads photos through ``View``.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tyro
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.datamanagers.base_datamanager import (
    VanillaDataManager,
    VanillaDataManagerConfig,
)
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.data.utils.dataloaders import (
    FixedIndicesEvalDataloader,
    RandIndicesEvalDataloader,
)

if TYPE_CHECKING:
    from nerfstudio_plugin.runs.opening import Run


@dataclass
class SA3DDataManagerConfig(VanillaDataManagerConfig):
    """The base run's photos and cameras, read by the base run's own dataparser."""

    _target: type = field(default_factory=lambda: SA3DDataManager)
    dataparser: tyro.conf.Suppress[DataParserConfig | None] = None  # pyright: ignore

    def describe(self, run: Run) -> None:
        """Set the run's data folder, and its dataparser if none is set yet."""
        self.data = run.data.resolve()
        if self.dataparser is None:
            base = run.config.pipeline.datamanager
            self.dataparser = deepcopy(base.dataparser)  # pyright: ignore
        assert self.dataparser is not None
        self.dataparser.data = self.data


class SA3DDataManager(VanillaDataManager[InputDataset]):
    """Nerfstudio's data manager without worker processes; reads photos when they are needed."""

    def setup_train(self) -> None:
        """Make the pixel sampler, which ``ns-export`` adjusts before it asks for rays."""
        self.train_pixel_sampler = self._get_pixel_sampler(
            self.train_dataset, self.config.train_num_rays_per_batch
        )

    def next_train(self, step: int) -> tuple[RayBundle, dict[str, Any]]:
        """Return random rays of the training photos; reads the photos at the first call."""
        if not hasattr(self, "iter_train_image_dataloader"):
            sampler = self.train_pixel_sampler
            super().setup_train()
            self.train_pixel_sampler = sampler
        return super().next_train(step)

    def setup_eval(self) -> None:
        """Make the loaders of whole photos, and no others."""
        options = {"input_dataset": self.eval_dataset, "device": self.device, "num_workers": 0}
        self.fixed_indices_eval_dataloader = FixedIndicesEvalDataloader(**options)
        self.eval_dataloader = RandIndicesEvalDataloader(**options)

    def next_eval(self, step: int) -> tuple[RayBundle, dict[str, Any]]:
        """Raise: a segmentation has no loss over rays to evaluate."""
        raise NotImplementedError("a segmentation is evaluated by whole photos")
