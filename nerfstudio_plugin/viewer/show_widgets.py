"""Widgets that tell how things stand, choose what is shown, and walk along the photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import viser

from nerfstudio_plugin.display.settings import MODES, Display
from nerfstudio_plugin.viewer.state import StudioState
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.viser_scene import begin_at, look_through, picture_markdown


class StatusWidgets:
    """What is being done, how far it is, the view visited last, and a way to stop."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        gui = server.gui
        self._text = gui.add_markdown("Opening the scene…")
        self._bar = gui.add_progress_bar(0.0, visible=False)
        self._cancel = gui.add_button(
            "Stop", icon=viser.Icon.PLAYER_STOP, color="red", visible=False
        )
        self._go_on = gui.add_button("Go on", icon=viser.Icon.PLAYER_PLAY, visible=False)
        self._view = gui.add_markdown("", image_root=Path(), visible=False)
        self._go_on.on_click(lambda _: studio.go_on())
        self._cancel.on_click(lambda _: studio.cancel())
        self._picture: object = None

    def refresh(self, state: StudioState) -> None:
        """Show how things stand."""
        self._text.content = f"**{state.busy}…**" if state.busy else _idle_text(state)
        self._bar.visible = state.progress > 0
        self._bar.value = 100 * state.progress
        segmenting = bool(state.busy) and state.ready
        self._cancel.visible = segmenting
        self._go_on.visible = state.unfinished and not state.busy
        self._view.visible = segmenting and state.last_picture is not None
        if self._view.visible and state.last_picture is not self._picture:
            assert state.last_picture is not None
            self._picture = state.last_picture
            self._view.content = picture_markdown(state.last_picture, "") + "\n\n" + state.last_view


def _idle_text(state: StudioState) -> str:
    if not state.ready:
        return "Opening the scene…"
    verdict = state.verdicts.get(state.desk.selected)
    if verdict is None:
        return f"Ready: mark **{state.desk.selected}**."
    return f"**{state.desk.selected}**: {verdict}"


class ShowWidgets:
    """How objects are shown, and from which probability on something is object."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        self._studio, gui = studio, server.gui
        with gui.add_folder("Show"):
            self._mode = gui.add_dropdown("Show", MODES, initial_value="overlay")
            self._only = gui.add_checkbox("Only this object", False)
            self._threshold = gui.add_slider(
                "Threshold", 0.05, 0.95, 0.01, 0.5, hint="what share of the votes makes it object"
            )
        for widget in (self._mode, self._only, self._threshold):
            widget.on_update(lambda _: self._apply())

    def _apply(self) -> None:
        display = Display(mode=self._mode.value, threshold=self._threshold.value)
        self._studio.display(display, self._only.value)

    def refresh(self, state: StudioState) -> None:
        """Show how things stand."""
        if self._mode.value != state.display.mode:
            self._mode.value = state.display.mode
        if self._threshold.value != state.display.threshold:
            self._threshold.value = state.display.threshold
        if self._only.value != state.only_selected:
            self._only.value = state.only_selected


class PhotoWidgets:
    """Puts the camera where a photo was taken."""

    def __init__(
        self, server: viser.ViserServer, studio: Studio, hide_photos: Callable[[], None]
    ) -> None:
        self._studio, self._hide_photos, gui = studio, hide_photos, server.gui
        views = studio.scene.views
        with gui.add_folder("Photos", expand_by_default=False):
            self._photo = gui.add_dropdown("Photo", [view.name for view in views])
            before = gui.add_button("Previous", icon=viser.Icon.ARROW_LEFT, color="gray")
            after = gui.add_button("Next", icon=viser.Icon.ARROW_RIGHT, color="gray")
        server.on_client_connect(lambda client: begin_at(client, views[0].camera))
        self._photo.on_update(self._go)
        before.on_click(lambda event: self._step(event, -1))
        after.on_click(lambda event: self._step(event, 1))

    def _step(self, event: viser.GuiEvent, by: int) -> None:
        options = self._photo.options
        self._photo.value = options[(options.index(self._photo.value) + by) % len(options)]
        self._go(event)

    def _go(self, event: viser.GuiEvent) -> None:
        scene = self._studio.scene
        if event.client is not None:
            self._hide_photos()  # the photo's own frame would stand in the way
            look_through(event.client, scene.views[scene.view_index(self._photo.value)].camera)

    def refresh(self, state: StudioState) -> None:
        """Nothing changes here."""
