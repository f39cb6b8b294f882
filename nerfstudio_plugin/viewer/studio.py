"""What the panel's buttons do: every command of the user, without any widget.

Commands return at once; the work is done by the worker, one after the other, and ``state`` tells
how things stand. A command given while objects are segmented is carried out between two views, and
segmenting goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.viewer.marks import Mark
from nerfstudio_plugin.viewer.state import Desk
from nerfstudio_plugin.viewer.studio_work import StudioWork
from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera
from sa3d.loop.session import Session
from sa3d.objects.colors import Color, free_color, object_color
from sa3d.objects.prompts import Prompt, check_object_name
from sa3d.voting.photo_prompts import PhotoBox, photo_box, photo_point, surface_point


class Studio(StudioWork):
    """A session with what lies on the user's desk, and one history of both.

    Attributes:
        opened: the scene and its objects; used by the worker's jobs only.
        state: how things stand.
    """

    # What is marked ------------------------------------------------------------------------------

    def click(self, camera: Camera, xy_px: tuple[float, float], label: int) -> None:
        """Mark the surface in a pixel of any camera as object (1) or as something else (0)."""

        def mark() -> None:
            scene = self._prepared_scene()
            point = surface_point(scene, camera, xy_px)
            self._add(Mark.click(photo_point(scene, camera, point, self._views()), label))

        self.do("looking where you clicked", mark)

    def box(self, camera: Camera, box_px: tuple[float, float, float, float]) -> None:
        """Mark what a rectangle in the image of any camera encloses."""

        def mark() -> None:
            scene = self._prepared_scene()
            found = photo_box(scene, camera, box_px, self.session.segmenter, self._views())
            self._add(Mark.box(found))

        self.do("looking what the box encloses", mark)

    @property
    def knows_words(self) -> bool:
        """Whether objects can be looked for by words."""
        return self._detector is not None

    def find(self, words: str) -> None:
        """Mark what words name, in the photo where it is found best."""

        def look() -> None:
            scene, detector = self._prepared_scene(), self._detector
            if detector is None or not words.strip():
                raise SA3DError("type what to look for, such as: the red mug")
            prompt = Prompt("", self.state.desk.selected, text=words)
            (found,), _ = self.opened.find_words(
                [prompt],
                detector(),
                progress=lambda seen: self._set(progress=(seen.index + 1) / seen.total),
            )
            if found.box is None:
                self.add_prompts([found])
                return
            index, (x0, y0, x1, y1) = scene.view_index(found.view), found.box
            camera = scene.views[index].camera
            point = surface_point(scene, camera, ((x0 + x1) / 2, (y0 + y1) / 2))
            self._add(Mark.box(PhotoBox(index, found.box, point)))

        self.do(f"looking for {words!r}", look)

    def choose_candidate(self, candidate: int | None) -> None:
        """Take one of the segmenter's candidates (0, 1, 2), or its best (None)."""

        def choose() -> None:
            if not self.state.desk.marks:
                raise SA3DError("mark something first: there is nothing to choose from")
            self._act("choose a candidate", replace(self.state.desk, candidate=candidate))
            self._preview()

        self.do("", choose)

    def remove_mark(self, position: int) -> None:
        """Take one mark back that was not segmented yet."""

        def remove() -> None:
            marks = list(self.state.desk.marks)
            if not 0 <= position < len(marks):
                raise SA3DError("this mark is gone already")
            del marks[position]
            desk = replace(self.state.desk, marks=tuple(marks), candidate=None)
            self._act("delete a mark", desk)
            self._set(preview=None)
            if marks:
                self._preview()

        self.do("", remove)

    def clear_marks(self) -> None:
        """Forget what was marked and not segmented yet."""

        def clear() -> None:
            if self.state.desk.marks:
                self._act("clear the marks", replace(self.state.desk, marks=(), candidate=None))
                self._set(preview=None)

        self.do("", clear)

    def _views(self) -> list[int]:
        """Photos that marks and prompts of the selected object are in, the latest first."""
        name = self.state.desk.selected
        prompted = [self.scene.view_index(p.view) for p in self.session.prompts(name)]
        marked = [mark.view for mark in self.state.desk.marks]
        return list(dict.fromkeys(reversed([*prompted, *marked])))

    # Objects -------------------------------------------------------------------------------------

    def new_object(self, name: str) -> None:
        """Begin another object, and select it; one that has no prompts yet gives way to it."""

        def begin() -> None:
            self._check_free(name)
            color = free_color(self.session.colors.values())
            self._act(f"new object {name}", Desk(name, {name: color}))
            self._set(preview=None)

        self.do("", begin)

    def select(self, name: str) -> None:
        """Select the object that marks are for; marks that were not segmented are dropped."""

        def choose() -> None:
            desk = self._known(name)
            if name != desk.selected:
                self._act(f"select {name}", Desk(name, desk.empty))
                self._set(preview=None)

        self.do("", choose)

    def remove_object(self, name: str) -> None:
        """Forget an object."""

        def remove() -> None:
            empty = {one: rgb for one, rgb in self._known(name).empty.items() if one != name}
            left = [one for one in self.state.colors if one != name]
            if not left:
                left, empty = ["object"], {"object": object_color(0)}
            steps = int(bool(self.session.prompts(name)))
            if steps:
                self.session.remove_object(name)
            self._act(f"delete {name}", Desk(left[0], empty), steps)
            self._set(preview=None)

        self.do("", remove)

    def set_color(self, name: str, color: Color) -> None:
        """Show an object in another color."""

        def paint() -> None:
            desk = self._known(name)
            if name in desk.empty:
                painted = replace(desk, empty={**desk.empty, name: color})
                self._act("another color", painted)
            elif self.state.colors[name] != color:
                self.session.set_color(name, color)
                self._act("another color", desk, 1)

        self.do("", paint)

    def rename_object(self, name: str, new: str) -> None:
        """Call an object otherwise."""

        def rename() -> None:
            desk = self._known(name)
            if new != name:
                self._check_free(new)
                steps = int(bool(self.session.prompts(name)))
                if steps:
                    self.session.rename_object(name, new)
                empty = {new if one == name else one: rgb for one, rgb in desk.empty.items()}
                selected = new if desk.selected == name else desk.selected
                renamed = replace(desk, empty=empty, selected=selected)
                self._act(f"rename {name} to {new}", renamed, steps)

        self.do("", rename)

    def merge_objects(self, names: Sequence[str], into: str) -> None:
        """Make one of several segmented objects, called ``into``: a new name or one of theirs."""

        def merge() -> None:
            desk = self._known(*names)
            missing = [one for one in names if one in desk.empty]
            if missing:
                raise SA3DError(f"object {missing[0]!r} is not segmented yet")
            if into not in names:
                self._check_free(into)
            self.session.merge_objects(names, into)
            self._act(f"merge {' and '.join(names)}", Desk(into, desk.empty), 1)
            self._set(preview=None)
            self._begin()

        self.do("merging", merge)

    def split(self, new: str) -> None:
        """Make an object of its own of what is marked of the selected one."""

        def split() -> None:
            desk = self.state.desk
            if not desk.marks:
                raise SA3DError(f"mark the part of {desk.selected!r} that is to be split off")
            self._check_free(new)
            self.session.split_object(desk.selected, self._new_prompts(), new)
            self._act(f"split {new} off {desk.selected}", Desk(new), 1)
            self._set(preview=None)
            self._begin(self._history.last)

        self.do("splitting", split)

    def _check_free(self, name: str) -> None:
        check_object_name(name)
        if name in self.state.colors:
            raise SA3DError(f"there is an object {name!r} already: choose another name")

    def remove_prompt(self, name: str, position: int) -> None:
        """Take one of an object's prompts back, and segment what that changes."""

        def remove() -> None:
            desk, color = self._known(name), self.state.colors[name]
            self.session.remove_prompt(name, position)
            empty = self._still_empty({**desk.empty, name: color})
            self._act("delete a prompt", replace(desk, empty=empty), 1)
            self._begin(self._history.last)

        self.do("", remove)

    # Segmenting ----------------------------------------------------------------------------------

    def segment(self) -> None:
        """Lift what is marked to 3D, or correct what is there by it."""

        def begin() -> None:
            self._prepared_scene()
            desk = self.state.desk
            if not desk.marks:
                raise SA3DError(f"nothing is marked for {desk.selected!r}: click on it, or box it")
            self.add_prompts(self._new_prompts())

        self.do("", begin)

    def go_on(self) -> None:
        """Continue what was cancelled."""
        self.do("", self._begin)

    def cancel(self) -> None:
        """Stop segmenting after the present view; what is there stays."""
        self._cancelled = True

    # History and display -------------------------------------------------------------------------

    def undo(self) -> None:
        """Take the last action back."""
        self.do(
            "", lambda: self._went(self._history.undo(lambda step: self._swap(step, Session.undo)))
        )

    def redo(self) -> None:
        """Do again what was undone last."""
        self.do(
            "", lambda: self._went(self._history.redo(lambda step: self._swap(step, Session.redo)))
        )

    def display(self, display: Display, only_selected: bool) -> None:
        """Show objects in another way; acts at once, whatever else is going on."""
        self._set(display=display, only_selected=only_selected)
        self._listeners.show(self._shown, self.state.shown_display())

    def prepare(self) -> None:
        """Prepare the scene, the first thing to do."""
        self.do("preparing the scene, once: then everything is fast", self._prepare)
