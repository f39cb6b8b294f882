"""The panel in Nerfstudio's viewer: connects its widgets to a studio and to the rendered scene."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import viser
from nerfstudio.viewer.render_state_machine import RenderAction
from nerfstudio.viewer.viewer import Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl, ViewerElement

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.viewer.files import Files
from nerfstudio_plugin.viewer.markdown import escape
from nerfstudio_plugin.viewer.server_guard import check_guarded
from nerfstudio_plugin.viewer.state import Listeners, error_notice
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.viser_scene import show_notice
from nerfstudio_plugin.viewer.widgets import (
    DisplayWidgets,
    FilesWidgets,
    MarkWidgets,
    ObjectsWidgets,
    PhotoWidgets,
    StatusWidgets,
)
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.base.errors import SA3DError
from sa3d.detectors.loading import load_detector, local_detectors
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.folder import is_segmentation
from sa3d.segmenters.registry import AUTO

DEFAULT_FOLDER = Path("segmentations/viewer")
"""Folder that a session is saved to by default, below the folder that the panel writes to."""


@dataclass(frozen=True)
class PanelBackend:
    """The commands behind a panel's widgets.

    Attributes:
        begin: called once the widgets are built.
    """

    studio: Studio
    files: Files
    begin: Callable[[], None]


OpenBackend = Callable[[Listeners], PanelBackend]
"""Opens the backend of a panel; called once, when a viewer shows the panel."""


def viewing_backend(
    opened: OpenScene, folder: Path, output_dir: Path, detector: str, listeners: Listeners
) -> PanelBackend:
    """Make a backend that works in a thread of its own, and opens what is saved in ``folder``.

    Args:
        opened: the scene.
        folder: of the session.
        output_dir: the panel reads and writes files below it, and in ``folder``.
        detector: name of the text detector.
        listeners: of the studio.

    Raises:
        SA3DError: the segmenter cannot be loaded.
    """
    load = detector_loader(detector, opened.device)
    studio = Studio(opened, folder, Worker(), listeners, load)
    files = Files(studio, output_dir)

    def begin() -> None:
        studio.worker.start()
        studio.prepare()
        if is_segmentation(folder):
            files.open(folder)

    return PanelBackend(studio, files, begin)


def training_backend(
    opened: OpenScene, folder: Path, output_dir: Path, listeners: Listeners
) -> PanelBackend:
    """Make a backend whose commands wait for the next step of ``ns-train``."""
    studio = Studio(opened, folder, Worker(), listeners)
    return PanelBackend(studio, Files(studio, output_dir), lambda: None)


def detector_loader(name: str, device: str) -> Callable[[], TextDetector] | None:
    """Return a function that loads a detector, once; None if "auto" finds none on this machine.

    Nothing is downloaded unless the detector is named.
    """
    if name == AUTO and not local_detectors():
        return None
    return cache(lambda: load_detector(name, device))


class SegmentPanel(ViewerElement[Any]):
    """The folder "Segment an object"; the viewer finds it as an attribute of a pipeline.

    Attributes:
        studio: the commands; None until a viewer shows the panel.
    """

    def __init__(
        self,
        open_backend: OpenBackend,
        show: Callable[[ShownObjects | None, Display], None],
        control: ViewerControl,
    ) -> None:
        """Wait for a viewer.

        Args:
            open_backend: opens the scene.
            show: called with the objects, None if there are none, and how they are shown.
            control: gives access to the viewer; an attribute of the same pipeline.
        """
        super().__init__("Segment")
        self._open_backend, self._show, self._control = open_backend, show, control
        self._stale = threading.Event()
        self._failures: set[str] = set()
        self.studio: Studio | None = None

    def _create_gui_handle(self, viser_server: viser.ViserServer) -> None:
        raise NotImplementedError("the panel has many widgets: see install")

    def install(self, viser_server: viser.ViserServer) -> None:
        """Build the panel above Nerfstudio's own widgets, and begin to prepare the scene.

        Viser adds widgets to the folder that the calling *thread* has open; a new thread has none
        open, so its widgets are at the top.
        """
        builder = threading.Thread(target=self._build, args=(viser_server,))
        builder.start()
        builder.join()

    def _build(self, server: viser.ViserServer) -> None:
        listeners = Listeners(
            self._stale.set, self._show_objects, lambda notice: show_notice(server, notice)
        )
        try:
            check_guarded(server)
            backend = self._open_backend(listeners)
        except SA3DError as error:
            with server.gui.add_folder("Segment an object", order=-1.0):
                server.gui.add_markdown(escape(error_notice(error).text))
            return
        studio = backend.studio
        with server.gui.add_folder("Segment an object", order=-1.0):
            self._widgets = (
                StatusWidgets(server, studio),
                MarkWidgets(server, studio),
                ObjectsWidgets(server, studio),
                DisplayWidgets(server, studio),
                PhotoWidgets(server, studio, self._hide_photos),
                FilesWidgets(server, studio, backend.files),
            )
        self.studio = studio
        threading.Thread(target=self._keep_fresh, name="sa3d panel", daemon=True).start()
        self._stale.set()
        backend.begin()

    def _keep_fresh(self) -> None:
        """Update the widgets when the studio's state was replaced, at most 20 times a second."""
        assert self.studio is not None
        while True:
            self._stale.wait()
            self._stale.clear()
            self._refresh(self.studio)
            time.sleep(0.05)

    def _refresh(self, studio: Studio) -> None:
        """Show the newest state in all widgets; what fails is reported once, and tried again."""
        state = studio.state
        for widgets in self._widgets:
            try:
                widgets.refresh(state)
            except Exception as error:  # the next state may be shown again
                notice = error_notice(error)
                if notice.text not in self._failures:
                    self._failures.add(notice.text)
                    studio.notify(notice)

    def _show_objects(self, shown: ShownObjects | None, display: Display) -> None:
        """Show objects, and render the scene again in all browsers."""
        self._show(shown, display)
        viewer = self._viewer()
        if viewer is None:
            return
        for number, client in viewer.viser_server.get_clients().items():
            if number in viewer.render_statemachines:
                state = viewer.get_camera_state(client)
                viewer.render_statemachines[number].action(RenderAction("move", state))

    def _hide_photos(self) -> None:
        viewer = self._viewer()
        if viewer is not None:
            hide_photos(viewer)

    def _viewer(self) -> Viewer | None:
        """Return Nerfstudio's viewer; None while it is being built."""
        viewer = getattr(self._control, "viewer", None)
        return viewer if viewer is not None and viewer.ready else None


def hide_photos(viewer: Viewer) -> None:
    """Hide the photos' frames, as the button of Nerfstudio's viewer does."""
    if viewer.hide_images.visible:
        viewer.set_camera_visibility(False)
        viewer.toggle_cameravis_button()
