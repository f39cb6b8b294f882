"""A studio on the analytic scene, with a worker that runs its jobs on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.viewer.state import Listeners, Notice, StudioState
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.detectors.protocol import TextDetector
from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.loop.config import ConvergenceConfig, LoopConfig
from sa3d.loop.settings import Settings
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_mask
from sa3d.scene.scene import Scene
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleSegmenter

ONE_ROUND = LoopConfig(convergence=ConvergenceConfig(max_rounds=1))


@dataclass
class StudioDriver:
    """A studio that records its notices and what it shows.

    Attributes:
        on_change: called at every change of the state.
    """

    scene: Scene
    segmenter: PromptableSegmenter
    folder: Path
    detector: Callable[[], TextDetector] | None = None
    run: Any = None
    on_change: Callable[[StudioState], None] = lambda _: None
    notices: list[Notice] = field(default_factory=list)
    shown: list[tuple[ShownObjects | None, Display]] = field(default_factory=list)

    def __post_init__(self) -> None:
        listeners = Listeners(
            lambda: self.on_change(self.studio.state) if hasattr(self, "studio") else None,
            lambda objects, display: self.shown.append((objects, display)),
            self.notices.append,
        )
        opened = opened_scene(self.scene, self.segmenter, self.run or a_run(self.folder))
        self.studio = Studio(opened, self.folder, Worker(), listeners, self.detector)
        self.studio.prepare()
        self.work()

    @property
    def state(self) -> StudioState:
        return self.studio.state

    def work(self) -> list[Notice]:
        """Run the waiting commands; return the notices meanwhile."""
        before = len(self.notices)
        self.studio.worker.run_pending()
        return self.notices[before:]

    def fails(self) -> str:
        """Run the waiting commands; return the text of the one error notice."""
        notices = self.work()
        assert [notice.kind for notice in notices] == ["error"], notices
        return notices[0].text

    def camera(self, view: int):
        return self.scene.views[view].camera

    def click(self, view: int, xy: tuple[float, float], label: int = 1) -> list[Notice]:
        self.studio.click(self.camera(view), xy, label)
        return self.work()

    def segment(self) -> list[Notice]:
        self.studio.segment()
        return self.work()

    def session_is(self, expected: Segmentation) -> None:
        """Assert that the session's result is this, bit for bit."""
        assert_same(self.studio.session.result(), expected)


def opened_scene(scene: Scene, segmenter: PromptableSegmenter, run: Any) -> OpenScene:
    settings = Settings("graphcut", scene.config, ONE_ROUND)
    return OpenScene(run, scene, settings, segmenter=segmenter)


def a_run(folder: Path) -> Any:
    """The part of a run that a saved segmentation refers to."""
    return SimpleNamespace(
        load_config=folder / "config.yml",
        checkpoint_path=folder / "step-1.ckpt",
        data=folder,
        dataparser_transform=torch.eye(4)[:3],
        dataparser_scale=1.0,
    )


def assert_same(one: Segmentation, other: Segmentation) -> None:
    assert list(one.objects) == list(other.objects)
    for name, mine in one.objects.items():
        its = other.objects[name]
        assert list(mine.prompts) == list(its.prompts)
        assert mine.verdict == its.verdict
        assert mine.evidence.object.equal(its.evidence.object)
        assert mine.evidence.total.equal(its.evidence.total)
        assert mine.views.keys() == its.views.keys()
        for view, record in mine.views.items():
            assert record.outcome == its.views[view].outcome
            assert np.array_equal(record.mask, its.views[view].mask)


def middle_of(mask: np.ndarray) -> tuple[float, float]:
    """The pixel (x, y) of a mask that is nearest to its mean."""
    spots = np.argwhere(mask)[:, ::-1]
    x, y = spots[np.abs(spots - spots.mean(axis=0)).sum(axis=1).argmin()].tolist()
    return float(x), float(y)


def edges_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) around a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])


def oracle_of(
    analytic: AnalyticScene, kind: type[OracleSegmenter] = OracleSegmenter
) -> OracleSegmenter:
    """Knows ball, crate and table in every photo."""
    views = analytic.scene.views
    return kind(
        {view.name: view.image() for view in views},
        {
            view.name: {name: masks[i] for name, masks in analytic.masks.items()}
            for i, view in enumerate(views)
        },
    )


def mean_iou(driver: StudioDriver, analytic: AnalyticScene, name: str, truth: str) -> float:
    """Return the mean IoU of an object's masks in all photos with the masks of ``truth``."""
    result, scene = driver.studio.session.result(), driver.scene
    masks = [final_mask(scene, result, name, i)[0] for i in range(len(scene.views))]
    return mean_iou_over_views(masks, list(analytic.masks[truth]))
