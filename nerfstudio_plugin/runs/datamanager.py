"""The base run's images for Nerfstudio's commands; segmenting itself does not read them here."""

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
    """Where the base run's images are. The dataparser is the base run's own."""

    _target: type = field(default_factory=lambda: SA3DDataManager)
    dataparser: tyro.conf.Suppress[DataParserConfig | None] = None  # pyright: ignore

    def describe(self, run: Run) -> None:
        """Note where a run's images are, and how they are read, unless it is known already."""
        self.data = run.data.resolve()
        if self.dataparser is None:
            base = run.config.pipeline.datamanager
            self.dataparser = deepcopy(base.dataparser)  # pyright: ignore
        assert self.dataparser is not None
        self.dataparser.data = self.data


class SA3DDataManager(VanillaDataManager[InputDataset]):
    """Nerfstudio's data manager without processes, which reads photos when asked for them."""

    def setup_train(self) -> None:
        """Only what ``ns-export`` adjusts before it asks for rays."""
        self.train_pixel_sampler = self._get_pixel_sampler(
            self.train_dataset, self.config.train_num_rays_per_batch
        )

    def next_train(self, step: int) -> tuple[RayBundle, dict[str, Any]]:
        """Random rays of the training photos; the photos are read at the first call."""
        if not hasattr(self, "iter_train_image_dataloader"):
            sampler = self.train_pixel_sampler
            super().setup_train()
            self.train_pixel_sampler = sampler
        return super().next_train(step)

    def setup_eval(self) -> None:
        """Only what hands out whole photos."""
        options = {"input_dataset": self.eval_dataset, "device": self.device, "num_workers": 0}
        self.fixed_indices_eval_dataloader = FixedIndicesEvalDataloader(**options)
        self.eval_dataloader = RandIndicesEvalDataloader(**options)

    def next_eval(self, step: int) -> tuple[RayBundle, dict[str, Any]]:
        """There is no loss over rays to evaluate."""
        raise NotImplementedError("a segmentation is evaluated by whole images")
