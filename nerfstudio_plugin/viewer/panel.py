"""The panel itself: widgets on one side, the studio's commands and state on the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import viser
from nerfstudio.viewer.render_state_machine import RenderAction
from nerfstudio.viewer.viewer import Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl, ViewerElement

from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.viewer.files import Opened
from nerfstudio_plugin.viewer.state import Listeners, problem
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.viser_scene import tell
from nerfstudio_plugin.viewer.widgets import (
    FilesWidgets,
    MarkWidgets,
    ObjectsWidgets,
    PhotoWidgets,
    ShowWidgets,
    StatusWidgets,
)
from sa3d.base.errors import SA3DError

Opener = Callable[[Listeners], Opened]
"""Opens the scene for a panel; called once, when a viewer shows it."""


class SegmentPanel(ViewerElement[Any]):
    """Segmenting in Nerfstudio's viewer: found by it as an attribute of a pipeline.

    Args:
        open_studio: opens the scene.
        show: takes the objects, None if there are none, and how they are shown.
        control: gives the viewer; an attribute of the same pipeline.
    """

    def __init__(
        self,
        open_studio: Opener,
        show: Callable[[ShownObjects | None, Display], None],
        control: ViewerControl,
    ) -> None:
        super().__init__("Segment")
        self._open, self._show, self._control = open_studio, show, control
        self._refreshing = threading.Lock()
        self._stale = threading.Event()
        self.studio: Studio | None = None

    def _create_gui_handle(self, viser_server: viser.ViserServer) -> None:
        raise NotImplementedError("the panel has many widgets: see install")

    def install(self, viser_server: viser.ViserServer) -> None:
        """Build the panel above Nerfstudio's own widgets, and begin to prepare the scene.

        Viser puts new widgets into the folder that the calling *thread* has opened: a thread of its
        own stands in none, and so at the top.
        """
        builder = threading.Thread(target=self._build, args=(viser_server,))
        builder.start()
        builder.join()

    def _build(self, server: viser.ViserServer) -> None:
        listeners = Listeners(self._changed, self._shown, lambda notice: tell(server, notice))
        try:
            opened = self._open(listeners)
        except SA3DError as error:
            with server.gui.add_folder("Segment an object", order=-1.0):
                server.gui.add_markdown(problem(error).text)
            return
        studio = opened.studio
        with server.gui.add_folder("Segment an object", order=-1.0):
            self._widgets = (
                StatusWidgets(server, studio),
                MarkWidgets(server, studio),
                ObjectsWidgets(server, studio),
                ShowWidgets(server, studio),
                PhotoWidgets(server, studio, self._hide_photos),
                FilesWidgets(server, studio, opened.files),
            )
        self.studio = studio
        threading.Thread(target=self._keep_fresh, name="sa3d panel", daemon=True).start()
        self._changed()
        opened.begin()

    def _changed(self) -> None:
        self._stale.set()

    def _keep_fresh(self) -> None:
        """Bring the widgets to the studio's state whenever that has changed, at most so often."""
        assert self.studio is not None
        while True:
            self._stale.wait()
            self._stale.clear()
            state = self.studio.state
            for widgets in self._widgets:
                widgets.refresh(state)
            time.sleep(0.05)

    def _shown(self, shown: ShownObjects | None, display: Display) -> None:
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
        """Nerfstudio's viewer; None while it is being built."""
        viewer = getattr(self._control, "viewer", None)
        return viewer if viewer is not None and viewer.ready else None


def hide_photos(viewer: Viewer) -> None:
    """Hide the photos' frames, as the button of Nerfstudio's viewer does."""
    if viewer.hide_images.visible:
        viewer.set_camera_visibility(False)
        viewer.toggle_cameravis_button()
