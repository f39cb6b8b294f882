"""The commands of the panel, without any widget.

Commands return at once: a worker carries them out one after the other, and ``state`` shows the
progress. A command that comes while objects are segmented is carried out between two views, and
then segmenting continues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects, shown_objects
from nerfstudio_plugin.viewer.marks import Mark, prompt_description, prompts_of
from nerfstudio_plugin.viewer.state import Draft, Listeners, Notice, StudioState, error_notice
from nerfstudio_plugin.viewer.thumbnails import marks_preview, visited_thumbnail
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.base.history import Action, History
from sa3d.detectors.protocol import TextDetector
from sa3d.geometry.camera import Camera
from sa3d.loop.session import Session
from sa3d.objects.colors import Color, free_color, object_color
from sa3d.objects.events import Event, Finished, RoundStarted, ViewDone
from sa3d.objects.names import check_new_name
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene
from sa3d.voting.photo_prompts import PhotoBox, photo_box, photo_point, surface_point

_SHOW_EVERY_S = 0.7
"""Seconds between two updates of the shown objects while views are visited."""


@dataclass(frozen=True, eq=False)
class StudioChange:
    """The studio's own part of an undoable action: its values before the action.

    Attributes:
        draft: marks and selected object.
        opened: the scene with its session; opening a saved session replaces it.
        folder: where that session is saved.
    """

    studio: Studio
    draft: Draft
    opened: OpenScene
    folder: Path

    def swap(self) -> StudioChange:
        """Restore these values; return the change that reverses this."""
        return self.studio._swap(self)


class Studio:
    """The panel's session: an open scene, and the user's draft, with one history for both.

    The methods up to ``prepare`` are the user's commands; any thread may call them. The methods
    after it are for the worker's jobs only.

    Attributes:
        opened: the scene with its session; for the worker's jobs only.
        worker: carries out the commands.
        state: everything that the panel shows; any thread may read it.
    """

    def __init__(
        self,
        opened: OpenScene,
        folder: Path,
        worker: Worker,
        listeners: Listeners,
        detector: Callable[[], TextDetector] | None = None,
    ) -> None:
        """Begin with the objects of a scene, and an empty one to mark.

        Args:
            folder: where the session is saved.
            detector: loads the detector for objects named in words; None: there is none.

        Raises:
            SA3DError: the segmenter cannot be loaded.
        """
        self.opened, self.worker = opened, worker
        self._detector, self._listeners, self._lock = detector, listeners, threading.Lock()
        self._draft, self._folder = Draft("object", {"object": object_color(0)}), folder
        self._history = opened.session.history
        self._shown: ShownObjects | None = None
        self._shown_at = 0.0
        self._cancelled = False
        self._attempted: Action | None = None
        self._segment_submitted = False
        self._visited, self._to_visit = 0, 1
        self._submitted, self._show_lock = 0, threading.Lock()
        self.state = StudioState(self._draft, self._colors(), folder)

    @property
    def session(self) -> Session:
        """The objects and their prompts."""
        return self.opened.session

    @property
    def scene(self) -> Scene:
        """The views and their operators; the same as long as the viewer runs."""
        return self.opened.scene

    def submit(self, activity: str, job: Callable[[], None]) -> None:
        """Let the worker run a job; the user is notified of exceptions.

        Args:
            activity: description of the job for the user; empty if it takes no time.
        """

        def guarded() -> None:
            self._set(activity=activity or self.state.activity)
            self._attempt(job)
            self._set(activity="", progress=0.0, handled=self.state.handled + 1)

        with self._lock:
            self._submitted += 1
        self.worker.submit(guarded)

    def is_behind(self, state: StudioState) -> bool:
        """Return whether the user has given commands that are not in a state yet."""
        return state.handled < self._submitted

    # Marks ---------------------------------------------------------------------------------------

    def click(self, camera: Camera, xy_px: tuple[float, float], label: int) -> None:
        """Mark the surface in a pixel of any camera as object (1) or background (0)."""

        def mark() -> None:
            scene = self._prepared_scene()
            point = surface_point(scene, camera, xy_px)
            self._add_mark(Mark.click(photo_point(scene, camera, point, self._views()), label))

        self.submit("finding the clicked surface", mark)

    def box(self, camera: Camera, box_px: tuple[float, float, float, float]) -> None:
        """Mark what a box (x0, y0, x1, y1) in the image of any camera encloses."""

        def mark() -> None:
            scene = self._prepared_scene()
            found = photo_box(scene, camera, box_px, self.session.segmenter, self._views())
            self._add_mark(Mark.box(found))

        self.submit("finding what the box encloses", mark)

    @property
    def can_find_words(self) -> bool:
        """True if there is a detector for objects named in words."""
        return self._detector is not None

    def find_words(self, words: str) -> None:
        """Mark the object that words name, in the photo where the detector is surest."""

        def find() -> None:
            scene, detector = self._prepared_scene(), self._detector
            if detector is None or not words.strip():
                raise SA3DError("type what to look for, such as: the red mug")
            prompt = Prompt("", self._draft.selected, text=words)
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
            self._add_mark(Mark.box(PhotoBox(index, found.box, point)))

        self.submit(f"looking for {words!r}", find)

    def choose_candidate(self, candidate: int | None) -> None:
        """Use one of the segmenter's candidates (0, 1, 2), or its best one (None)."""

        def choose() -> None:
            if not self._draft.marks:
                raise SA3DError("mark something first: there is nothing to choose from")
            with self._action("choose a candidate", keep_preview=True):
                self._draft = replace(self._draft, candidate=candidate)
            self._preview()

        self.submit("", choose)

    def remove_mark(self, position: int) -> None:
        """Delete a mark that was not segmented yet."""

        def remove() -> None:
            marks = list(self._draft.marks)
            if not 0 <= position < len(marks):
                raise SA3DError("this mark was deleted already")
            del marks[position]
            with self._action("delete a mark"):
                self._draft = replace(self._draft, marks=tuple(marks), candidate=None)
            if marks:
                self._preview()

        self.submit("", remove)

    def clear_marks(self) -> None:
        """Delete all marks that were not segmented yet."""

        def clear() -> None:
            if self._draft.marks:
                with self._action("clear the marks"):
                    self._draft = replace(self._draft, marks=(), candidate=None)

        self.submit("", clear)

    # Objects -------------------------------------------------------------------------------------

    def new_object(self, name: str) -> None:
        """Add an object and select it; it replaces objects that have no prompt yet."""

        def add() -> None:
            self._check_free(name)
            with self._action(f"new object {name}"):
                self._draft = Draft(name, {name: free_color(self.session.colors.values())})

        self.submit("", add)

    def select(self, name: str) -> None:
        """Select the object that marks are for; marks that were not segmented are dropped."""

        def choose() -> None:
            self._check_known(name)
            if name != self._draft.selected:
                with self._action(f"select {name}"):
                    self._draft = Draft(name, self._draft.empty)

        self.submit("", choose)

    def remove_object(self, name: str) -> None:
        """Delete an object."""

        def remove() -> None:
            self._check_known(name)
            empty = {one: rgb for one, rgb in self._draft.empty.items() if one != name}
            left = [one for one in self.state.colors if one != name]
            if not left:
                left, empty = ["object"], {"object": object_color(0)}
            with self._action(f"delete {name}"):
                if self.session.prompts(name):
                    self.session.remove_object(name)
                self._draft = Draft(left[0], empty)

        self.submit("", remove)

    def set_color(self, name: str, color: Color) -> None:
        """Recolor an object."""

        def recolor() -> None:
            self._check_known(name)
            if name in self._draft.empty:
                with self._action("another color", keep_preview=True):
                    self._draft = replace(self._draft, empty={**self._draft.empty, name: color})
            elif self.state.colors[name] != color:
                with self._action("another color", keep_preview=True):
                    self.session.set_color(name, color)

        self.submit("", recolor)

    def rename_object(self, name: str, new: str) -> None:
        """Rename an object."""

        def rename() -> None:
            self._check_known(name)
            if new == name:
                return
            self._check_free(new, [name])
            draft = self._draft
            empty = {new if one == name else one: rgb for one, rgb in draft.empty.items()}
            selected = new if draft.selected == name else draft.selected
            with self._action(f"rename {name} to {new}", keep_preview=True):
                if self.session.prompts(name):
                    self.session.rename_object(name, new)
                self._draft = replace(draft, empty=empty, selected=selected)

        self.submit("", rename)

    def merge_objects(self, names: Sequence[str], into: str) -> None:
        """Merge segmented objects into ``into``: a new name, or one of ``names``."""

        def merge() -> None:
            self._check_known(*names)
            missing = [one for one in names if one in self._draft.empty]
            if missing:
                raise SA3DError(f"object {missing[0]!r} is not segmented yet")
            if into not in names:
                self._check_free(into, names)
            with self._action(f"merge {' and '.join(names)}"):
                self.session.merge_objects(names, into)
                self._draft = Draft(into, self._draft.empty)
            self._begin()

        self.submit("merging", merge)

    def split(self, new: str) -> None:
        """Split the marked part off the selected object, as an object called ``new``."""

        def split() -> None:
            draft = self._draft
            if not draft.marks:
                raise SA3DError(f"mark the part of {draft.selected!r} that is to be split off")
            self._check_free(new)
            with self._action(f"split {new} off {draft.selected}"):
                self.session.split_object(draft.selected, self._new_prompts(), new)
                self._draft = Draft(new)
            self._begin(self._history.last)

        self.submit("splitting", split)

    def remove_prompt(self, name: str, position: int) -> None:
        """Delete one of an object's prompts, and segment again what that changes."""

        def remove() -> None:
            self._check_known(name)
            color = self.state.colors[name]
            with self._action("delete a prompt", keep_preview=True):
                self.session.remove_prompt(name, position)
                empty = self._without_prompts({**self._draft.empty, name: color})
                self._draft = replace(self._draft, empty=empty)
            self._begin(self._history.last)

        self.submit("", remove)

    # Segmenting, history and display -------------------------------------------------------------

    def segment(self) -> None:
        """Segment the marked object in 3D, or correct it if it is segmented already."""

        def begin() -> None:
            self._prepared_scene()
            draft = self._draft
            if not draft.marks:
                raise SA3DError(f"nothing is marked for {draft.selected!r}: click on it, or box it")
            self.add_prompts(self._new_prompts())

        self.submit("", begin)

    def continue_segmenting(self) -> None:
        """Continue after ``cancel``."""
        self.submit("", self._begin)

    def cancel(self) -> None:
        """Stop segmenting after the present view, and keep what is found so far."""
        self._cancelled = True

    def undo(self) -> None:
        """Undo the last action."""
        self.submit("", lambda: self._show_restored(self._history.undo()))

    def redo(self) -> None:
        """Redo the action that was undone last."""
        self.submit("", lambda: self._show_restored(self._history.redo()))

    def set_display(self, display: Display, only_selected: bool) -> None:
        """Change how objects are shown, at once, in the caller's thread."""
        self._set(display=display, only_selected=only_selected)
        self._show()

    def prepare(self) -> None:
        """Prepare the scene; nothing can be marked before."""

        def prepare() -> None:
            self.opened.prepare(lambda done: self._set(progress=(done.index + 1) / done.total))
            self._set(ready=True)
            self.refresh()

        self.submit("preparing the scene, once: then everything is fast", prepare)

    # For the worker's jobs -----------------------------------------------------------------------

    def add_prompts(self, prompts: list[Prompt]) -> None:
        """Segment or correct an object by prompts."""
        empty, name = self._draft.empty, prompts[-1].object
        with self._action(_segment_label(name)):
            self.session.add_prompts(prompts, empty)
            self._draft = Draft(name, self._without_prompts(empty))
        self._begin(self._history.last)

    def show_training(self, prompts: Sequence[Prompt]) -> None:
        """Show objects that a trainer segments; its prompts are not the user's to undo."""
        self._history = self.session.history = History()
        self._draft = Draft(prompts[0].object)
        self._publish(ready=True)
        self.refresh()

    def replace_objects(self, opened: OpenScene, draft: Draft, label: str) -> None:
        """Put another session of the same scene in place of this one, as an undoable action."""
        opened.session.history = self._history
        with self._action(label):
            self.opened, self._draft = opened, draft
        self.worker.submit(self._build)

    def record_saved(self, folder: Path, display: Mapping[str, Any] | None = None) -> None:
        """Record that the session is saved in a folder.

        Args:
            display: the display settings saved there, to be used from now on.
        """
        if display:
            self._set(display=Display(**{**display, "objects": tuple(display["objects"])}))
        self._folder = folder
        self._set(folder=folder, saved=True)

    def record_command(self, command: str) -> None:
        """Record the command line equal to the export just done."""
        self._set(command=command)

    def notify(self, notice: Notice) -> None:
        """Show a message to the user."""
        self._listeners.notify(notice)

    def report(self, event: Event) -> None:
        """Show an event of the loop."""
        if isinstance(event, RoundStarted):
            self._visited, self._to_visit = 0, event.views
            self._set(activity=f"{event.object}: round {event.round}", progress=0.0)
        elif isinstance(event, ViewDone):
            self._visited += 1
            if event.outcome != "prompted" and self._attempts([event.object]):
                self._attempted = None
            progress = min(1.0, self._visited / max(1, self._to_visit))
            outcome = f"{event.view}: {event.outcome}, {event.reason}"
            self._set(last_view=outcome, progress=progress)
            if time.monotonic() - self._shown_at > _SHOW_EVERY_S:
                color = self.state.colors[event.object]
                self._set(last_image=visited_thumbnail(self.opened, event, color))
                self.refresh()
        elif isinstance(event, Finished):
            self.refresh()
            self.notify(Notice("done", f"{event.object} is segmented", event.verdict))

    def refresh(self, *, build: bool = False) -> None:
        """Bring the state up to date with the session, and show its objects.

        Args:
            build: also build the objects as solid space, which takes seconds.
        """
        self._shown_at = time.monotonic()
        result = self.session.result()
        last, following = self._history.last, self._history.next
        self._set(
            prompts={
                name: tuple(prompt_description(prompt) for prompt in self.session.prompts(name))
                for name in self.state.colors
            },
            verdicts={name: one.verdict for name, one in result.objects.items()},
            unfinished=self.session.unfinished,
            undo=last.label if last else "",
            redo=following.label if following else "",
        )
        self._shown = (
            shown_objects(self.scene, result, self._shown, build=build)
            if result.objects and self.scene.is_prepared()
            else None
        )
        self._show()

    def _show(self) -> None:
        """Show the objects as they are now; of several threads, the last one shows the newest."""
        with self._show_lock:
            self._listeners.show(self._shown, self.state.shown_display())

    # Marks and prompts ---------------------------------------------------------------------------

    def _add_mark(self, mark: Mark) -> None:
        """Add a mark; a box replaces the one before."""
        earlier = self._draft.marks
        if mark.box_px is not None:
            earlier = tuple(one for one in earlier if one.box_px is None)
        with self._action("mark", keep_preview=True):
            self._draft = replace(self._draft, marks=(*earlier, mark), candidate=None)
        self._preview()

    def _preview(self) -> None:
        """Show what the marks select, and the candidates there are."""
        found, draft = self.session.preview(self._new_prompts()), self._draft
        color = self.state.colors[draft.selected]
        self._set(preview=marks_preview(self.scene, found, draft.marks, color))

    def _new_prompts(self) -> list[Prompt]:
        draft = self._draft
        return prompts_of(draft.marks, self.scene.views, draft.selected, draft.candidate)

    def _views(self) -> list[int]:
        """Return the views with marks or prompts of the selected object, the latest first."""
        prompts = self.session.prompts(self._draft.selected)
        prompted = [self.scene.view_index(prompt.view) for prompt in prompts]
        marked = [mark.view for mark in self._draft.marks]
        return list(dict.fromkeys(reversed([*prompted, *marked])))

    def _prepared_scene(self) -> Scene:
        if not self.scene.is_prepared():
            raise SA3DError("the scene is still being prepared: wait until the bar is full")
        return self.scene

    def _check_known(self, *names: str) -> None:
        for name in names:
            if name not in self.state.colors:
                there = ", ".join(self.state.colors)
                raise SA3DError(f"no object {name!r} here; there are: {there}")

    def _check_free(self, name: str, replaced: Sequence[str] = ()) -> None:
        check_new_name(name, [other for other in self.state.colors if other not in replaced])

    # State and history ---------------------------------------------------------------------------

    @contextmanager
    def _action(self, label: str, *, keep_preview: bool = False) -> Iterator[None]:
        """Make one undoable action of all changes to the session and the draft in the block.

        If the block raises, nothing is changed.
        """
        with self._history.group(label):
            self._history.remember(StudioChange(self, self._draft, self.opened, self._folder))
            yield
        preview = self.state.preview if keep_preview else None
        self._publish(preview=preview, saved=False)
        self.refresh()

    def _swap(self, change: StudioChange) -> StudioChange:
        """See ``StudioChange.swap``; the state follows with ``_publish``."""
        reverse = StudioChange(self, self._draft, self.opened, self._folder)
        if change.opened is not self.opened:  # saving elsewhere is not undone
            self.opened, self._folder = change.opened, change.folder
        self._draft = change.draft
        return reverse

    def _show_restored(self, restored: bool) -> None:
        """Show what ``undo`` or ``redo`` restored."""
        if not restored:
            raise SA3DError("there is nothing to undo or redo")
        self._publish(preview=None, saved=False)
        self.refresh()
        if self._draft.marks:
            with suppress(Exception):  # the user was notified when the marks were made
                self._preview()
        self.worker.submit(self._build)

    def _publish(self, **changes: object) -> None:
        """Bring draft, colors and folder of the state up to date, with other changes at once."""
        self._set(draft=self._draft, colors=self._colors(), folder=self._folder, **changes)

    def _set(self, **changes: object) -> None:
        with self._lock:
            self.state = replace(self.state, **changes)  # pyright: ignore[reportArgumentType]
        self._listeners.changed()

    def _colors(self) -> dict[str, Color]:
        """Return the colors of all objects, those without prompts last."""
        return self.session.colors | self._without_prompts(self._draft.empty)

    def _without_prompts(self, colors: Mapping[str, Color]) -> dict[str, Color]:
        return {name: color for name, color in colors.items() if not self.session.prompts(name)}

    # Segmenting ----------------------------------------------------------------------------------

    def _begin(self, attempted: Action | None = None) -> None:
        """Segment the objects that have new prompts.

        Args:
            attempted: the action to take back if its prompts select nothing.
        """
        self._cancelled, self._attempted = False, attempted
        self._submit_segmenting()

    def _submit_segmenting(self) -> None:
        """Segment after the waiting jobs; only once, as two would pause for each other forever."""
        if not self._segment_submitted:
            self._segment_submitted = True
            self.worker.submit(self._segment)

    def _segment(self) -> None:
        """Segment what has new prompts, and pause for other commands between two views."""
        self._segment_submitted = False
        succeeded = self._attempt(self._visit_views)
        if not succeeded and self._attempted and self._history.last is self._attempted:
            self._attempt(self._take_back)
        self._set(activity="", progress=0.0)
        self._build()

    def _take_back(self) -> None:
        self._history.take_back()
        self._show_restored(True)

    def _visit_views(self) -> None:
        try:
            for event in self.session.run():
                self.report(event)
                if self._cancelled:
                    self.notify(Notice("done", "Stopped", "What was found so far is kept."))
                    break
                if self.worker.waiting:
                    self._submit_segmenting()
                    break
        except ObjectsFailedError as error:
            if not self._attempts(error.failed):
                self._attempted = None  # an object that was stopped before failed, not this one
            raise

    def _attempts(self, names: Iterable[str]) -> bool:
        """Return whether the attempted action segments one of these objects."""
        attempted = self._attempted
        return attempted is not None and attempted.label in map(_segment_label, names)

    def _build(self) -> None:
        """Show the objects as solid space, unless other jobs wait."""
        self._attempt(lambda: self.refresh(build=not self.worker.waiting))

    def _attempt(self, job: Callable[[], None]) -> bool:
        """Run a job; if it raises, notify the user and return False."""
        try:
            job()
        except Exception as error:
            self.notify(error_notice(error))
            return False
        return True


def _segment_label(name: str) -> str:
    return f"segment {name}"
