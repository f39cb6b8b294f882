"""Opens what the panel needs: in a viewer of its own, in ns-viewer, and beside ns-train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nerfstudio_plugin.scene_loading import default_cache_root
from nerfstudio_plugin.viewer.files import Files
from nerfstudio_plugin.viewer.state import Listeners
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.checkpoint import is_segmentation
from sa3d.config import Settings
from sa3d.detectors import load_detector, local_detectors
from sa3d.scene import Scene
from sa3d.segmenters import load_segmenter
from sa3d.segmenters.choice import choose_segmenter
from sa3d.segmenters.registry import AUTO
from sa3d.session import Session
from sa3d.text_detector import TextDetector

if TYPE_CHECKING:
    from nerfstudio_plugin.loading import OpenedRun

DEFAULT_FOLDER = Path("segmentations/viewer")
"""Where a session is saved unless the user says otherwise."""


@dataclass(frozen=True)
class Opened:
    """What a panel works with.

    Attributes:
        begin: called once the panel is there.
    """

    studio: Studio
    files: Files
    begin: Callable[[], None]


def open_for_viewing(
    run: OpenedRun,
    settings: Settings,
    cache_dir: Path | None,
    folder: Path,
    detector: str,
    listeners: Listeners,
) -> Opened:
    """A session of its own, in a thread of its own; goes on with what is saved in ``folder``.

    Raises:
        SA3DError: the segmenter cannot be had.
    """
    device = run.field.device
    if settings.segmenter == AUTO:
        settings.segmenter = choose_segmenter(device.type).name
    cache_root = default_cache_root(run.load_config) if cache_dir is None else cache_dir
    scene = Scene(run.field, run.views, cache_root, settings.prepare, device)
    segmenter = load_segmenter(settings.segmenter, device.type)
    worker = Worker()
    session = Session(scene, segmenter, settings.loop)
    finder = detector_if_any(detector, device.type)
    studio = Studio(session, folder, worker, listeners, finder)
    files = Files(studio, run, settings, cache_dir)

    def begin() -> None:
        worker.start()
        studio.prepare()
        if is_segmentation(folder):
            files.open(folder)

    return Opened(studio, files, begin)


def open_for_training(
    run: OpenedRun,
    settings: Settings,
    cache_dir: Path | None,
    folder: Path,
    session: Session,
    listeners: Listeners,
) -> Opened:
    """The session of ``ns-train``; what the user does waits for the trainer's next step."""
    studio = Studio(session, folder, Worker(), listeners, None)
    return Opened(studio, Files(studio, run, settings, cache_dir), lambda: None)


def detector_if_any(name: str, device: str) -> Callable[[], TextDetector] | None:
    """What loads the detector when words are first looked for; None where there is none.

    Nothing is downloaded unless the detector is named.
    """
    if name == AUTO and not local_detectors():
        return None
    return cache(lambda: load_detector(name, device))
