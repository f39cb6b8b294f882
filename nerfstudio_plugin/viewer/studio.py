"""What the panel's buttons do: every command of the user, without any widget.

Commands return at once; the work is done by the worker, one after the other, and ``state`` tells
how things stand. A command given while objects are segmented is carried out between two views, and
segmenting goes on from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects, shown_objects
from nerfstudio_plugin.viewer.marks import Mark, described, prompts_of
from nerfstudio_plugin.viewer.pictures import preview_of, visited_picture
from nerfstudio_plugin.viewer.state import Desk, Listeners, Notice, Step, StudioState, problem
from nerfstudio_plugin.viewer.step_history import StepHistory
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.base.errors import SA3DError
from sa3d.detectors.protocol import TextDetector
from sa3d.geometry.camera import Camera
from sa3d.loop.session import Session
from sa3d.objects.colors import Color, free_color, object_color
from sa3d.objects.events import Event, Finished, RoundStarted, ViewDone
from sa3d.objects.names import check_object_name
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene
from sa3d.voting.photo_prompts import PhotoBox, photo_box, photo_point, surface_point

_SHOW_EVERY_S = 0.7
"""While views are visited, the scene is shown anew this often."""


class Studio:
    """A session with what lies on the user's desk, and one history of both.

    Everything but ``do`` runs in the worker's jobs only.

    Attributes:
        opened: the scene and its objects.
        state: how things stand; any thread may read it.
    """

    def __init__(
        self,
        opened: OpenScene,
        folder: Path,
        worker: Worker,
        listeners: Listeners,
        detector: Callable[[], TextDetector] | None = None,
    ) -> None:
        self.opened, self.worker, self._detector = opened, worker, detector
        self._listeners, self._lock = listeners, threading.Lock()
        self._history: StepHistory[Step] = StepHistory()
        self._shown: ShownObjects | None = None
        self._shown_at = 0.0
        self._cancelled = False
        self._tried: Step | None = None
        self._segment_waits = False
        self._visited, self._to_visit = 0, 1
        desk = Desk("object", {"object": object_color(0)})
        self.state = StudioState(desk, self._colors(desk), folder)

    @property
    def session(self) -> Session:
        """Objects and their prompts."""
        return self.opened.session

    @property
    def scene(self) -> Scene:
        """Photos and what is prepared of them; the same as long as the viewer runs."""
        return self.opened.scene

    def do(self, busy: str, job: Callable[[], None]) -> None:
        """Let the worker do something; errors are told to the user.

        Args:
            busy: what it is, for the user; empty if it takes no time.
        """

        def guarded() -> None:
            self._set(busy=busy or self.state.busy)
            self._attempt(job)
            self._set(busy="", progress=0.0)

        self.worker.submit(guarded)

    def _attempt(self, job: Callable[[], None]) -> bool:
        """Whether a job went well; if not, the user is told, and the viewer goes on."""
        try:
            job()
        except Exception as error:
            self.tell(problem(error))
            return False
        return True

    def add_prompts(self, prompts: list[Prompt]) -> None:
        """Segment by prompts that are there already; for the worker's jobs only."""
        empty, name = self.state.desk.empty, prompts[-1].object
        self.session.add_prompts(prompts, empty)
        self._act(f"segment {name}", Desk(name, self._still_empty(empty)), 1)
        self._set(preview=None)
        self._begin(self._history.last)

    def adopt(self, prompts: Sequence[Prompt]) -> None:
        """Take over objects that are being segmented already; for the worker's jobs only."""
        self._lay(Desk(prompts[0].object), ready=True)
        self.refresh()

    def settle(self, folder: Path, display: Mapping[str, Any] | None = None) -> None:
        """Note where the session is saved, and how it was shown; for the worker's jobs only."""
        if display:
            self._set(display=Display(**{**display, "objects": tuple(display["objects"])}))
        self._set(folder=folder, saved=True)

    def note_command(self, command: str) -> None:
        """Note the command line that does what was just done."""
        self._set(command=command)

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

    # Segmenting and history --------------------------------------------------------------------

    def _begin(self, tried: Step | None = None) -> None:
        """Segment what has new prompts.

        Args:
            tried: taken back if the prompts turn out to be no good.
        """
        self._cancelled, self._tried = False, tried
        self._segment_soon()

    def _segment_soon(self) -> None:
        """Segment after what waits; once, as two that make room for each other never end."""
        if not self._segment_waits:
            self._segment_waits = True
            self.worker.submit(self._segment)

    def replace_objects(self, opened: OpenScene, desk: Desk, action: str) -> None:
        """Put other objects in place of these; can be undone; for the worker's jobs only."""
        self._set(preview=None)
        self._act(action, desk, opened=opened)
        self.worker.submit(self._build)

    def tell(self, notice: Notice) -> None:
        """Tell the user something."""
        self._listeners.tell(notice)

    def _set(self, **changes: object) -> None:
        with self._lock:
            self.state = replace(self.state, **changes)  # pyright: ignore[reportArgumentType]
        self._listeners.changed()

    def _lay(self, desk: Desk, **changes: object) -> None:
        """Lay something else on the desk."""
        self._set(desk=desk, colors=self._colors(desk), **changes)

    def _colors(self, desk: Desk) -> dict[str, Color]:
        """The colors of all objects, those without a prompt last."""
        return self.session.colors | self._still_empty(desk.empty)

    def _still_empty(self, empty: Mapping[str, Color]) -> dict[str, Color]:
        return {name: color for name, color in empty.items() if not self.session.prompts(name)}

    def _prepare(self) -> None:
        self.opened.prepare(lambda done: self._set(progress=(done.index + 1) / done.total))
        self._set(ready=True)
        self.refresh()

    def _prepared_scene(self) -> Scene:
        if not self.scene.is_prepared():
            raise SA3DError("the scene is still being prepared: wait until the bar is full")
        return self.scene

    def _known(self, *names: str) -> Desk:
        for name in names:
            if name not in self.state.colors:
                there = ", ".join(self.state.colors)
                raise SA3DError(f"no object {name!r} here; there are: {there}")
        return self.state.desk

    def _new_prompts(self) -> list[Prompt]:
        desk, views = self.state.desk, self.scene.views
        return prompts_of(desk.marks, views, desk.selected, desk.candidate)

    def _add(self, mark: Mark) -> None:
        desk = self.state.desk
        earlier = (
            desk.marks if mark.box_px is None else tuple(m for m in desk.marks if not m.box_px)
        )
        self._act("mark", replace(desk, marks=(*earlier, mark), candidate=None))
        self._preview()

    def _preview(self) -> None:
        """Show what the marks select, and the choice there is."""
        seen, desk = self.session.preview(self._new_prompts()), self.state.desk
        self._set(preview=preview_of(self.scene, seen, desk, self.state.colors[desk.selected]))

    def _act(
        self, action: str, desk: Desk, session_steps: int = 0, opened: OpenScene | None = None
    ) -> None:
        """Note an action in the history; the session's own steps are done already.

        Args:
            opened: other objects, in place of these.
        """
        state = self.state
        self._history.remember(Step(action, state.desk, self.opened, session_steps, state.folder))
        self.opened = opened or self.opened
        self._lay(desk, saved=False)
        self.refresh()

    def _swap(self, step: Step, session_step: Callable[[Session], object]) -> Step:
        """Put things in place as a step has them; how they were."""
        state = self.state
        was = replace(step, desk=state.desk, opened=self.opened, folder=state.folder)
        for _ in range(step.session_steps):
            session_step(self.session)
        folder = state.folder if step.opened is self.opened else step.folder
        self.opened = step.opened
        self._lay(step.desk, folder=folder, preview=None, saved=False)
        return was

    def _went(self, there_was_one: bool) -> None:
        """Show where going back or forth led."""
        if not there_was_one:
            raise SA3DError("there is nothing to undo or redo")
        self.refresh()
        if self.state.desk.marks:
            with suppress(Exception):  # what is wrong with them was told when they were made
                self._preview()
        self.worker.submit(self._build)

    def _segment(self) -> None:
        """Segment what has new prompts; makes room for other commands between two views."""
        self._segment_waits = False
        if not self._attempt(self._visit) and self._tried and self._history.last is self._tried:
            self._attempt(self._take_back)  # the marks were no good
        self._set(busy="", progress=0.0)
        self._build()

    def _take_back(self) -> None:
        self._history.take_back(lambda step: self._swap(step, Session.take_back))
        self._went(True)

    def _visit(self) -> None:
        for event in self.session.run():
            self.follow(event)
            if self._cancelled:
                self.tell(Notice("done", "Stopped", "What was found so far is kept."))
                break
            if self.worker.waiting:
                self._segment_soon()
                break

    def _build(self) -> None:
        """Show how things stand, with what is cut out unless there is something else to do."""
        self._attempt(lambda: self.refresh(build=not self.worker.waiting))

    def follow(self, event: Event) -> None:
        """Tell what became of a view; for the worker's jobs only."""
        if isinstance(event, RoundStarted):
            self._visited = 0
            self._set(busy=f"{event.object}: round {event.round}", progress=0.0)
            self._to_visit = event.views
        elif isinstance(event, ViewDone):
            self._visited += 1
            if event.outcome != "prompted":
                self._tried = None
            progress = min(1.0, self._visited / max(1, self._to_visit))
            said = f"{event.view}: {event.outcome}, {event.reason}"
            self._set(last_view=said, progress=progress)
            if time.monotonic() - self._shown_at > _SHOW_EVERY_S:
                color = self.state.colors[event.object]
                self._set(last_picture=visited_picture(self.opened, event, color))
                self.refresh()
        elif isinstance(event, Finished):
            self.refresh()
            self.tell(Notice("done", f"{event.object} is segmented", event.verdict))

    def refresh(self, *, build: bool = False) -> None:
        """Tell how things stand, and show it; for the worker's jobs only.

        Args:
            build: also what is cut out of the scene, which takes seconds.
        """
        self._shown_at = time.monotonic()
        result = self.session.result()
        self._set(
            prompts={
                name: tuple(described(prompt) for prompt in self.session.prompts(name))
                for name in self.state.colors
            },
            verdicts={name: one.verdict for name, one in result.objects.items()},
            unfinished=self.session.unfinished,
            undo=self._history.last.action if self._history.last else "",
            redo=self._history.next.action if self._history.next else "",
        )
        nothing = not result.objects or not self.scene.is_prepared()
        self._shown = (
            None if nothing else shown_objects(self.scene, result, self._shown, build=build)
        )
        self._listeners.show(self._shown, self.state.shown_display())
