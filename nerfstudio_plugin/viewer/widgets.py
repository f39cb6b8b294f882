"""Widgets that tell how things stand, choose what is shown, and walk along the photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import viser

from nerfstudio_plugin.display.settings import MODES, Display
from nerfstudio_plugin.viewer.files import SUFFIXES, Files
from nerfstudio_plugin.viewer.marks import Tool, mark_described
from nerfstudio_plugin.viewer.state import Preview, StudioState
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.viser_scene import (
    Markers,
    PointerTool,
    begin_at,
    look_through,
    picture_markdown,
    send_file,
)
from sa3d.geometry.camera import Camera


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


_NONE = "–"


class ObjectsWidgets:
    """A name, another object, and what can be done with them."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        self._studio, gui = studio, server.gui
        with gui.add_folder("Edit objects", expand_by_default=False):
            self._name = gui.add_text("Name", "", hint="the new name, or that of the split part")
            rename = gui.add_button("Rename this object", color="gray")
            split = gui.add_button(
                "Split off what is marked", color="gray", hint="mark the part first"
            )
            self._other = gui.add_dropdown("With", [_NONE])
            merge = gui.add_button("Merge with that object", color="gray")
        rename.on_click(lambda _: studio.rename_object(self._selected(), self._name.value.strip()))
        split.on_click(lambda _: studio.split(self._name.value.strip()))
        merge.on_click(lambda _: self._merge())

    def _selected(self) -> str:
        return self._studio.state.desk.selected

    def _merge(self) -> None:
        names = (self._selected(), self._other.value)
        self._studio.merge_objects(names, self._selected())

    def refresh(self, state: StudioState) -> None:
        """Show how things stand."""
        others = [name for name in state.colors if name != state.desk.selected] or [_NONE]
        if list(self._other.options) != others:
            self._other.options = others


class FilesWidgets:
    """Kind, place and buttons of an export, and the session's folder."""

    def __init__(self, server: viser.ViserServer, studio: Studio, files: Files) -> None:
        self._studio, self._files, gui = studio, files, server.gui
        with gui.add_folder("Export"):
            self._kind = gui.add_dropdown("What", list(SUFFIXES))
            self._every = gui.add_checkbox("All objects", False)
            self._output = gui.add_text("To", "", hint="file, or folder for all objects and masks")
            self._overwrite = gui.add_checkbox("Overwrite", False)
            self._export = gui.add_button("Export", icon=viser.Icon.PACKAGE_EXPORT)
            self._download = gui.add_button("Export and download", icon=viser.Icon.DOWNLOAD)
            self._command = gui.add_markdown("", visible=False)
        with gui.add_folder("Session", expand_by_default=False):
            self._folder = gui.add_text("Folder", str(studio.state.folder))
            self._save = gui.add_button("Save", icon=viser.Icon.DEVICE_FLOPPY)
            self._unsaved = gui.add_markdown("")
            self._open = gui.add_button("Open", icon=viser.Icon.FOLDER_OPEN)
        self._suggested = ""
        self._suggest()
        for widget in (self._kind, self._every):
            widget.on_update(lambda _: self._suggest())
        self._export.on_click(lambda _: self._run(None))
        self._download.on_click(lambda event: self._run(event.client))
        self._save.on_click(lambda _: files.save(Path(self._folder.value).expanduser()))
        self._open.on_click(lambda _: files.open(Path(self._folder.value).expanduser()))

    def _run(self, client: viser.ClientHandle | None) -> None:
        self._files.export(
            self._kind.value,
            Path(self._output.value).expanduser(),
            every_object=self._every.value,
            overwrite=self._overwrite.value,
            deliver=None if client is None else lambda file: send_file(client, file),
        )

    def _suggest(self) -> None:
        """Propose a name, unless the user has typed one."""
        if self._output.value not in ("", self._suggested):
            return
        suffix = SUFFIXES[self._kind.value]
        name = "objects" if self._every.value else self._studio.state.desk.selected
        if self._every.value:
            suffix = "" if suffix.startswith(".") else suffix
        self._suggested = str(Path("exports") / (name + suffix))
        if self._output.value != self._suggested:
            self._output.value = self._suggested

    def refresh(self, state: StudioState) -> None:
        """Show how things stand."""
        self._suggest()
        self._export.disabled = self._download.disabled = not state.verdicts
        self._save.disabled = not state.verdicts
        unsaved = bool(state.verdicts) and not state.saved
        self._unsaved.content = "Not saved yet." if unsaved else ""
        self._command.visible = bool(state.command)
        if state.command:
            self._command.content = f"The same in a terminal:\n\n```\n{state.command}\n```"
