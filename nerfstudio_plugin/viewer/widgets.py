"""The panel's widgets; each class builds some, connects them to a studio, and refreshes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import viser

from nerfstudio_plugin.display.settings import MODES, Display
from nerfstudio_plugin.viewer.files import SUFFIXES, Files
from nerfstudio_plugin.viewer.markdown import code_block, escape
from nerfstudio_plugin.viewer.marks import Tool, mark_description
from nerfstudio_plugin.viewer.state import Notice, StudioState
from nerfstudio_plugin.viewer.studio import Studio
from nerfstudio_plugin.viewer.thumbnails import Preview
from nerfstudio_plugin.viewer.viser_scene import (
    Markers,
    PointerTool,
    image_markdown,
    look_through,
    place_new_browser,
    send_file,
)
from sa3d.geometry.camera import Camera
from sa3d.objects.colors import Color

TOOLS: dict[str, Tool] = {
    "turns the view": "look",
    "clicks on the object": "add",
    "clicks beside it": "remove",
    "drags a box": "box",
}
"""The pointer's tools by their names in the panel."""

_HINTS: dict[Tool, str] = {
    "look": "Let the pointer click on an object, or drag a box around it.",
    "add": "Click on the object. Every click adds to what is marked.",
    "remove": "Click on what does **not** belong to the object.",
    "box": "Drag a rectangle around the object.",
}
_BEST = "best"
_CANDIDATES: tuple[str, ...] = (_BEST, "1", "2", "3")
_NO_OBJECT = "–"


_Value = TypeVar("_Value")


class _Input(Generic[_Value]):
    """A widget whose value both the user and the studio set.

    Viser calls a widget's callbacks for both, in threads of its own, and late.
    """

    def __init__(self, handle: Any, studio: Studio) -> None:
        self._handle, self._studio = handle, studio
        self._shown: tuple[_Value, int] | None = None

    def on_input(self, act: Callable[[], None]) -> None:
        """Call a function when a user sets the value, and not when the studio does."""
        self._handle.on_update(lambda event: act() if event.client is not None else None)

    def show(self, value: _Value, state: StudioState) -> None:
        """Write the studio's value, but not over a user's input that is not carried out yet."""
        if self._studio.is_behind(state) or self._shown == (value, state.handled):
            return
        self._shown = (value, state.handled)
        if self._handle.value != value:
            self._handle.value = value


class StatusWidgets:
    """The work in progress, the view visited last, and buttons to stop and to continue."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        gui = server.gui
        self._text = gui.add_markdown("Opening the scene…")
        self._bar = gui.add_progress_bar(0.0, visible=False)
        self._cancel = gui.add_button(
            "Stop", icon=viser.Icon.PLAYER_STOP, color="red", visible=False
        )
        self._continue = gui.add_button("Continue", icon=viser.Icon.PLAYER_PLAY, visible=False)
        self._view = gui.add_markdown("", image_root=Path(), visible=False)
        self._continue.on_click(lambda _: studio.continue_segmenting())
        self._cancel.on_click(lambda _: studio.cancel())
        self._shown_image: object = None

    def refresh(self, state: StudioState) -> None:
        """Show a state."""
        self._text.content = (
            f"**{escape(state.activity)}…**" if state.activity else _idle_text(state)
        )
        self._bar.visible = state.progress > 0
        self._bar.value = 100 * state.progress
        segmenting = bool(state.activity) and state.ready
        self._cancel.visible = segmenting
        self._continue.visible = state.unfinished and not state.activity
        self._view.visible = segmenting and state.last_image is not None
        if self._view.visible and state.last_image is not self._shown_image:
            assert state.last_image is not None
            self._shown_image = state.last_image
            self._view.content = (
                f"{image_markdown(state.last_image, '')}\n\n{escape(state.last_view)}"
            )


def _idle_text(state: StudioState) -> str:
    if not state.ready:
        return "Opening the scene…"
    verdict = state.verdicts.get(state.draft.selected)
    if verdict is None:
        return f"Ready: mark **{escape(state.draft.selected)}**."
    return f"**{escape(state.draft.selected)}**: {escape(verdict)}"


class MarkWidgets:
    """The selected object, the pointer's tool, the preview, prompts, and the main buttons."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        self._studio, gui = studio, server.gui
        self._pointer_tool, self._markers = PointerTool(server), Markers(server)
        self._object = gui.add_dropdown("Object", ["object"], hint="the object you mark")
        self._color = gui.add_rgb("Color", studio.state.colors[studio.state.draft.selected])
        self._name = gui.add_text("New name", "", hint="name of another object")
        self._new = gui.add_button("New object", icon=viser.Icon.PLUS, color="gray")
        self._pointer = gui.add_dropdown("Pointer", list(TOOLS))
        self._hint = gui.add_markdown(_HINTS["look"])
        self._words = gui.add_text("In words", "", hint="such as: the red mug", visible=False)
        self._find = gui.add_button("Find", icon=viser.Icon.SEARCH, visible=False)
        self._preview = gui.add_markdown("", image_root=Path(), visible=False)
        self._candidates: viser.GuiDropdownHandle[str] = gui.add_dropdown(
            "Mask", _CANDIDATES, visible=False, hint="which of the masks you mean"
        )
        self._segment = gui.add_button("Segment in 3D", icon=viser.Icon.CUBE, disabled=True)
        self._clear = gui.add_button(
            "Clear marks", icon=viser.Icon.ERASER, color="gray", visible=False
        )
        self._prompts = gui.add_dropdown("Prompts", ["none"], visible=False)
        self._delete_prompt = gui.add_button("Delete the prompt", color="gray", visible=False)
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
        self._object_input: _Input[str] = _Input(self._object, studio)
        self._color_input: _Input[Color] = _Input(self._color, studio)
        self._candidate_input: _Input[str] = _Input(self._candidates, studio)
        self._object_input.on_input(lambda: studio.select(self._object.value))
        self._color_input.on_input(self._on_color)
        self._new.on_click(lambda _: self._on_new_object())
        _Input(self._pointer, studio).on_input(lambda: self._use_tool(TOOLS[self._pointer.value]))
        self._find.on_click(lambda _: studio.find_words(self._words.value))
        self._candidate_input.on_input(self._on_candidate)
        self._segment.on_click(lambda _: self._on_segment())
        self._clear.on_click(lambda _: studio.clear_marks())
        self._delete_prompt.on_click(lambda _: self._on_delete_prompt())
        self._delete.on_click(lambda _: studio.remove_object(studio.state.draft.selected))
        self._undo.on_click(lambda _: studio.undo())
        self._redo.on_click(lambda _: studio.redo())

    def _use_tool(self, tool: Tool) -> None:
        if tool == "look":
            self._pointer_tool.stop()
        elif tool == "box":
            self._pointer_tool.use("rect-select", self._on_box)
        else:
            label = int(tool == "add")
            self._pointer_tool.use(
                "click", lambda camera, points: self._studio.click(camera, points[0], label)
            )
        self._hint.content = _HINTS[tool]

    def _on_box(self, camera: Camera, corners: tuple[tuple[float, float], ...]) -> None:
        (x0, y0), (x1, y1) = corners
        self._studio.box(camera, (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))

    def _on_segment(self) -> None:
        self._pointer.value = next(iter(TOOLS))  # the pointer turns the view again
        self._use_tool("look")
        self._studio.segment()

    def _on_color(self) -> None:
        self._studio.set_color(self._studio.state.draft.selected, self._color.value)

    def _on_new_object(self) -> None:
        default = f"object {len(self._studio.state.colors) + 1}"
        self._studio.new_object(self._name.value.strip() or default)
        self._name.value = ""

    def _on_candidate(self) -> None:
        chosen = self._candidates.value
        self._studio.choose_candidate(None if chosen == _BEST else int(chosen) - 1)

    def _on_delete_prompt(self) -> None:
        """Delete the chosen entry: prompts come first in the list, then marks."""
        state, chosen = self._studio.state, self._prompts.value
        entries = self._entries(state)
        if self._studio.is_behind(state) or chosen not in entries:
            self._studio.notify(
                Notice("error", "That did not work", "The prompts have changed: choose again.")
            )
            return
        position = entries.index(chosen)
        prompts = len(state.prompts.get(state.draft.selected, ()))
        if position < prompts:
            self._studio.remove_prompt(state.draft.selected, position)
        else:
            self._studio.remove_mark(position - prompts)

    def refresh(self, state: StudioState) -> None:
        """Show a state."""
        draft = state.draft
        names = list(state.colors)
        if list(self._object.options) != names:
            self._object.options = names
        self._object_input.show(draft.selected, state)
        self._words.visible = self._find.visible = self._studio.can_find_words
        self._segment.disabled = not (state.ready and draft.marks)
        self._clear.visible = bool(draft.marks)
        self._delete.visible = draft.selected in state.verdicts or len(names) > 1
        self._refresh_prompts(state)
        self._undo.disabled, self._redo.disabled = not state.undo, not state.redo
        history = [f"undo: {state.undo}"] if state.undo else []
        history += [f"redo: {state.redo}"] if state.redo else []
        self._history.content = escape(" · ".join(history))
        self._color_input.show(state.colors[draft.selected], state)
        self._refresh_preview(state)

    def _entries(self, state: StudioState) -> list[str]:
        """Return the selected object's prompts and marks, as they are listed."""
        views = self._studio.scene.views
        entries = [*state.prompts.get(state.draft.selected, ())]
        entries += [f"{mark_description(mark, views)} (new)" for mark in state.draft.marks]
        return [f"{number}. {entry}" for number, entry in enumerate(entries, start=1)]

    def _refresh_prompts(self, state: StudioState) -> None:
        options = self._entries(state)
        self._prompts.visible = self._delete_prompt.visible = bool(options)
        if options and list(self._prompts.options) != options:
            self._prompts.options = options
            self._prompts.value = options[-1]

    def _refresh_preview(self, state: StudioState) -> None:
        draft, preview = state.draft, state.preview
        views = self._studio.scene.views
        eyes = [views[mark.view].camera.position.numpy() for mark in draft.marks]
        self._markers.show(draft.marks, eyes)
        chosen = _BEST if draft.candidate is None else str(draft.candidate + 1)
        self._candidate_input.show(chosen, state)
        if preview is self._shown_preview:
            return
        self._shown_preview = preview
        self._preview.visible = preview is not None
        self._candidates.visible = preview is not None and len(preview.scores) > 1
        points = None if preview is None else preview.points_world
        self._markers.show_selected(points, state.colors[draft.selected])
        if preview is not None:
            self._preview.content = _preview_text(preview, draft.candidate)


def _preview_text(preview: Preview, candidate: int | None) -> str:
    chosen = "the best mask" if candidate is None else f"candidate {candidate + 1}"
    text = f"In **{escape(preview.view)}**: {chosen}, predicted IoU {preview.scores[0]:.2f}."
    if len(preview.scores) > 1:
        candidates = ", ".join(f"{score:.2f}" for score in preview.scores[1:])
        text += f" Candidates 1, 2, 3: {candidates}."
    if preview.uncertain:
        text += " Much larger than the object so far: the other views decide if it is accepted."
    return image_markdown(preview.image, preview.view) + "\n\n" + text


class ObjectsWidgets:
    """Buttons to rename, split and merge objects."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        self._studio, gui = studio, server.gui
        with gui.add_folder("Edit objects", expand_by_default=False):
            self._name = gui.add_text("Name", "", hint="the new name, or that of the split part")
            rename = gui.add_button("Rename this object", color="gray")
            split = gui.add_button(
                "Split off what is marked", color="gray", hint="mark the part first"
            )
            self._other = gui.add_dropdown("With", [_NO_OBJECT])
            merge = gui.add_button("Merge with that object", color="gray")
        rename.on_click(lambda _: studio.rename_object(self._selected(), self._name.value.strip()))
        split.on_click(lambda _: studio.split(self._name.value.strip()))
        merge.on_click(lambda _: self._merge())

    def _selected(self) -> str:
        return self._studio.state.draft.selected

    def _merge(self) -> None:
        names = (self._selected(), self._other.value)
        self._studio.merge_objects(names, self._selected())

    def refresh(self, state: StudioState) -> None:
        """Show a state."""
        others = [name for name in state.colors if name != state.draft.selected] or [_NO_OBJECT]
        if list(self._other.options) != others:
            self._other.options = others


class DisplayWidgets:
    """The display's mode, objects and threshold."""

    def __init__(self, server: viser.ViserServer, studio: Studio) -> None:
        self._studio, gui = studio, server.gui
        with gui.add_folder("Show"):
            self._mode = gui.add_dropdown("Show", MODES, initial_value="overlay")
            self._only_selected = gui.add_checkbox("Only this object", False)
            self._threshold = gui.add_slider(
                "Threshold",
                0.05,
                0.95,
                0.01,
                0.5,
                hint="share of the votes that makes it object",
            )
        self._inputs: tuple[_Input[Any], ...] = tuple(
            _Input(widget, studio) for widget in (self._mode, self._threshold, self._only_selected)
        )
        for one in self._inputs:
            one.on_input(self._apply)

    def _apply(self) -> None:
        display = Display(mode=self._mode.value, threshold=self._threshold.value)
        self._studio.set_display(display, self._only_selected.value)

    def refresh(self, state: StudioState) -> None:
        """Show a state."""
        values = (state.display.mode, state.display.threshold, state.only_selected)
        for one, value in zip(self._inputs, values, strict=True):
            one.show(value, state)


class PhotoWidgets:
    """Buttons that move the browser's camera to the place of a photo."""

    def __init__(
        self, server: viser.ViserServer, studio: Studio, hide_photos: Callable[[], None]
    ) -> None:
        self._studio, self._hide_photos, gui = studio, hide_photos, server.gui
        views = studio.scene.views
        with gui.add_folder("Photos", expand_by_default=False):
            self._photo = gui.add_dropdown("Photo", [view.name for view in views])
            before = gui.add_button("Previous", icon=viser.Icon.ARROW_LEFT, color="gray")
            after = gui.add_button("Next", icon=viser.Icon.ARROW_RIGHT, color="gray")
        server.on_client_connect(lambda client: place_new_browser(client, views[0].camera))
        self._photo.on_update(self._look)
        before.on_click(lambda event: self._step(event, -1))
        after.on_click(lambda event: self._step(event, 1))

    def _step(self, event: viser.GuiEvent, by: int) -> None:
        options = self._photo.options
        self._photo.value = options[(options.index(self._photo.value) + by) % len(options)]
        self._look(event)

    def _look(self, event: viser.GuiEvent) -> None:
        scene = self._studio.scene
        if event.client is not None:
            self._hide_photos()  # the photo's own frame would hide the scene
            look_through(event.client, scene.views[scene.view_index(self._photo.value)].camera)

    def refresh(self, state: StudioState) -> None:
        """Do nothing: the photos do not change."""


class FilesWidgets:
    """Kind, place and buttons of an export, and the session's folder."""

    def __init__(self, server: viser.ViserServer, studio: Studio, files: Files) -> None:
        self._studio, self._files, gui = studio, files, server.gui
        with gui.add_folder("Export"):
            self._kind = gui.add_dropdown("What", list(SUFFIXES))
            self._every_object = gui.add_checkbox("All objects", False)
            self._output = gui.add_text("To", "", hint="file, or folder for all objects and masks")
            self._overwrite = gui.add_checkbox("Overwrite", False)
            self._export = gui.add_button("Export", icon=viser.Icon.PACKAGE_EXPORT)
            self._download = gui.add_button("Export and download", icon=viser.Icon.DOWNLOAD)
            self._command = gui.add_markdown("", visible=False)
            gui.add_text(
                "Below", str(files.output_dir), disabled=True, hint="the panel writes here only"
            )
        with gui.add_folder("Session", expand_by_default=False):
            self._folder = gui.add_text("Folder", files.shown(studio.state.folder))
            self._save = gui.add_button("Save", icon=viser.Icon.DEVICE_FLOPPY)
            self._unsaved = gui.add_markdown("")
            self._open = gui.add_button("Open", icon=viser.Icon.FOLDER_OPEN)
        self._suggested = ""
        self._suggest_output()
        for widget in (self._kind, self._every_object):
            widget.on_update(lambda _: self._suggest_output())
        self._export.on_click(lambda _: self._on_export(None))
        self._download.on_click(lambda event: self._on_export(event.client))
        self._save.on_click(lambda _: files.save(self._folder.value))
        self._open.on_click(lambda _: files.open(self._folder.value))

    def _on_export(self, client: viser.ClientHandle | None) -> None:
        self._files.export(
            self._kind.value,
            self._output.value,
            every_object=self._every_object.value,
            overwrite=self._overwrite.value,
            deliver=None if client is None else lambda file: send_file(client, file),
        )

    def _suggest_output(self) -> None:
        """Suggest a file or folder, unless the user has typed one."""
        if self._output.value not in ("", self._suggested):
            return
        suffix = SUFFIXES[self._kind.value]
        name = "objects" if self._every_object.value else self._studio.state.draft.selected
        if self._every_object.value:
            suffix = "" if suffix.startswith(".") else suffix
        self._suggested = str(Path("exports") / (name + suffix))
        if self._output.value != self._suggested:
            self._output.value = self._suggested

    def refresh(self, state: StudioState) -> None:
        """Show a state."""
        self._suggest_output()
        self._export.disabled = self._download.disabled = not state.verdicts
        self._save.disabled = not state.verdicts
        unsaved = bool(state.verdicts) and not state.saved
        self._unsaved.content = "Not saved yet." if unsaved else ""
        self._command.visible = bool(state.command)
        if state.command:
            self._command.content = f"The same in a terminal:\n\n{code_block(state.command)}"
