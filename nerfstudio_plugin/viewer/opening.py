"""Opens what the panel needs: in a viewer of its own, in ns-viewer, and beside ns-train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.viewer.files import Files
from nerfstudio_plugin.viewer.state import Listeners
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.detectors import load_detector, local_detectors
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.checkpoint import is_segmentation
from sa3d.segmenters.registry import AUTO

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
    opened: OpenScene, folder: Path, detector: str, listeners: Listeners
) -> Opened:
    """In a thread of its own; goes on with what is saved in ``folder``.

    Raises:
        SA3DError: the segmenter cannot be had.
    """
    worker, finder = Worker(), detector_if_any(detector, opened.device)
    studio = Studio(opened, folder, worker, listeners, finder)
    files = Files(studio)

    def begin() -> None:
        worker.start()
        studio.prepare()
        if is_segmentation(folder):
            files.open(folder)

    return Opened(studio, files, begin)


def open_for_training(opened: OpenScene, folder: Path, listeners: Listeners) -> Opened:
    """Beside ``ns-train``: what the user does waits for the trainer's next step."""
    studio = Studio(opened, folder, Worker(), listeners)
    return Opened(studio, Files(studio), lambda: None)


def detector_if_any(name: str, device: str) -> Callable[[], TextDetector] | None:
    """What loads the detector when words are first looked for; None where there is none.

    Nothing is downloaded unless the detector is named.
    """
    if name == AUTO and not local_detectors():
        return None
    return cache(lambda: load_detector(name, device))
