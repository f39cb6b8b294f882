"""The worker's half of the panel: segments, previews, keeps the history, tells how things stand."""

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
from nerfstudio_plugin.viewer.problems import problem
from nerfstudio_plugin.viewer.state import Desk, Listeners, Notice, Step, StudioState
from nerfstudio_plugin.viewer.step_history import StepHistory
from nerfstudio_plugin.viewer.worker import Worker
from sa3d.base.errors import SA3DError
from sa3d.detectors.protocol import TextDetector
from sa3d.loop.session import Session
from sa3d.objects.colors import Color, object_color
from sa3d.objects.events import Event, Finished, RoundStarted, ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene

_SHOW_EVERY_S = 0.7
"""While views are visited, the scene is shown anew this often."""


class StudioWork:
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
