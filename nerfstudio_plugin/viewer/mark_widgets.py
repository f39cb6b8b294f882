"""Widgets to mark objects: which object, what the pointer does, what the marks select."""

from __future__ import annotations

from pathlib import Path

import viser

from nerfstudio_plugin.viewer.marks import Tool, mark_described
from nerfstudio_plugin.viewer.state import Preview, StudioState
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.viser_scene import Markers, PointerTool, picture_markdown
from sa3d.geometry.camera import Camera

TOOLS: dict[str, Tool] = {
    "turns the view": "look",
    "clicks on the object": "add",
    "clicks beside it": "remove",
    "drags a box": "box",
}
"""What the pointer does, in the panel's words."""

_HINTS: dict[Tool, str] = {
    "look": "Let the pointer click on an object, or drag a box around it.",
    "add": "Click on the object. Every click adds to what is marked.",
    "remove": "Click on what does **not** belong to the object.",
    "box": "Drag a rectangle around the object.",
}
_BEST = "best"
_TAKE: tuple[str, ...] = (_BEST, "1", "2", "3")


class MarkWidgets:
    """Object, tool, preview with its candidates, and the buttons that segment."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        self._studio, gui = studio, server.gui
        self._pointer, self._markers = PointerTool(server), Markers(server)
        self._object = gui.add_dropdown("Object", ["object"], hint="the object you mark")
        self._color = gui.add_rgb("Color", studio.state.colors[studio.state.desk.selected])
        self._name = gui.add_text("New name", "", hint="name of another object")
        self._new = gui.add_button("New object", icon=viser.Icon.PLUS, color="gray")
        self._pointer_does = gui.add_dropdown("Pointer", list(TOOLS))
        self._hint = gui.add_markdown(_HINTS["look"])
        self._words = gui.add_text("In words", "", hint="such as: the red mug", visible=False)
        self._find = gui.add_button("Find", icon=viser.Icon.SEARCH, visible=False)
        self._preview = gui.add_markdown("", image_root=Path(), visible=False)
        self._candidates: viser.GuiDropdownHandle[str] = gui.add_dropdown(
            "Take", _TAKE, visible=False, hint="which of the masks is meant"
        )
        self._segment = gui.add_button("Segment in 3D", icon=viser.Icon.CUBE, disabled=True)
        self._clear = gui.add_button(
            "Clear marks", icon=viser.Icon.ERASER, color="gray", visible=False
        )
        self._prompts = gui.add_dropdown("Prompts", ["none"], visible=False)
        self._forget = gui.add_button("Delete the prompt", color="gray", visible=False)
        self._delete = gui.add_button(
            "Delete the object", icon=viser.Icon.TRASH, color="gray", visible=False
        )
        self._undo = gui.add_button(
            "Undo", icon=viser.Icon.ARROW_BACK_UP, color="gray", disabled=True
        )
        self._redo = gui.add_button(
            "Redo", icon=viser.Icon.ARROW_FORWARD_UP, color="gray", disabled=True
        )
        self._history = gui.add_markdown("")
        self._shown_preview: Preview | None = None
        self._connect()

    def _connect(self) -> None:
        studio = self._studio
        self._object.on_update(lambda _: self._select())
        self._color.on_update(lambda _: self._paint())
        self._new.on_click(lambda _: self._begin_object())
        self._pointer_does.on_update(lambda _: self._take(TOOLS[self._pointer_does.value]))
        self._find.on_click(lambda _: studio.find(self._words.value))
        self._candidates.on_update(lambda _: self._choose())
        self._segment.on_click(lambda _: self._lift())
        self._clear.on_click(lambda _: studio.clear_marks())
        self._forget.on_click(lambda _: self._forget_prompt())
        self._delete.on_click(lambda _: studio.remove_object(studio.state.desk.selected))
        self._undo.on_click(lambda _: studio.undo())
        self._redo.on_click(lambda _: studio.redo())

    def _take(self, tool: Tool) -> None:
        if tool == "look":
            self._pointer.put_down()
        elif tool == "box":
            self._pointer.use("rect-select", self._dragged)
        else:
            label = int(tool == "add")
            self._pointer.use("click", lambda eye, spots: self._studio.click(eye, spots[0], label))
        self._hint.content = _HINTS[tool]

    def _dragged(self, camera: Camera, corners: tuple[tuple[float, float], ...]) -> None:
        (x0, y0), (x1, y1) = corners
        self._studio.box(camera, (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))

    def _lift(self) -> None:
        self._pointer_does.value = next(iter(TOOLS))  # the view turns again
        self._studio.segment()

    def _select(self) -> None:
        if self._object.value != self._studio.state.desk.selected:
            self._studio.select(self._object.value)

    def _paint(self) -> None:
        self._studio.set_color(self._studio.state.desk.selected, self._color.value)

    def _begin_object(self) -> None:
        names = self._studio.state.colors
        fallback = f"object {len(names) + 1}"
        self._studio.new_object(self._name.value.strip() or fallback)
        self._name.value = ""

    def _choose(self) -> None:
        chosen = self._candidates.value
        candidate = None if chosen == _BEST else int(chosen) - 1
        if candidate != self._studio.state.desk.candidate:
            self._studio.choose_candidate(candidate)

    def _forget_prompt(self) -> None:
        """Prompts come first in the list, then the marks that were not segmented yet."""
        state = self._studio.state
        position = list(self._prompts.options).index(self._prompts.value)
        prompts = len(state.prompts.get(state.desk.selected, ()))
        if position < prompts:
            self._studio.remove_prompt(state.desk.selected, position)
        else:
            self._studio.remove_mark(position - prompts)

    def refresh(self, state: StudioState) -> None:
        """Show how things stand."""
        desk = state.desk
        names = list(state.colors)
        if list(self._object.options) != names:
            self._object.options = names
        if self._object.value != desk.selected:
            self._object.value = desk.selected
        self._words.visible = self._find.visible = self._studio.knows_words
        self._segment.disabled = not (state.ready and desk.marks)
        segmented = desk.selected in state.verdicts
        self._clear.visible = bool(desk.marks)
        self._delete.visible = segmented or len(names) > 1
        views = self._studio.scene.views
        said = [*state.prompts.get(desk.selected, ())]
        said += [f"{mark_described(mark, views)} (new)" for mark in desk.marks]
        prompts = [f"{number}. {one}" for number, one in enumerate(said, start=1)]
        self._prompts.visible = self._forget.visible = bool(prompts)
        if prompts and list(self._prompts.options) != prompts:
            self._prompts.options = prompts
            self._prompts.value = prompts[-1]
        self._undo.disabled, self._redo.disabled = not state.undo, not state.redo
        history = [f"undo: {state.undo}"] if state.undo else []
        history += [f"redo: {state.redo}"] if state.redo else []
        self._history.content = " · ".join(history)
        if self._color.value != state.colors[desk.selected]:
            self._color.value = state.colors[desk.selected]
        self._refresh_preview(state)

    def _refresh_preview(self, state: StudioState) -> None:
        desk, preview = state.desk, state.preview
        views = self._studio.scene.views
        eyes = [views[mark.view].camera.position.numpy() for mark in desk.marks]
        self._markers.show(desk.marks, eyes)
        taken = _BEST if desk.candidate is None else str(desk.candidate + 1)
        if self._candidates.value != taken:
            self._candidates.value = taken
        if preview is self._shown_preview:
            return
        self._shown_preview = preview
        self._preview.visible = preview is not None
        self._candidates.visible = preview is not None and len(preview.scores) > 1
        points = None if preview is None else preview.points_world
        self._markers.cover(points, state.colors[desk.selected])
        if preview is not None:
            self._preview.content = _preview_text(preview, desk.candidate)


def _preview_text(preview: Preview, candidate: int | None) -> str:
    taken = "the best mask" if candidate is None else f"candidate {candidate + 1}"
    said = f"In **{preview.view}**: {taken}, predicted IoU {preview.scores[0]:.2f}."
    if len(preview.scores) > 1:
        candidates = ", ".join(f"{score:.2f}" for score in preview.scores[1:])
        said += f" Candidates 1, 2, 3: {candidates}."
    if preview.uncertain:
        said += " Much larger than what was there: the views around decide whether it is taken."
    return picture_markdown(preview.picture, preview.view) + "\n\n" + said
