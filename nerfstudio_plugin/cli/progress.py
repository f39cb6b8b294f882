"""What the terminal shows while work is done: bars with an estimate, and tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table
from rich.text import Text

from sa3d.objects.events import Finished, RoundDone, RoundStarted, ViewDone
from sa3d.scene.events import ViewPrepared
from sa3d.scene.scene import Scene
from sa3d.search.events import LookedAt, MasksProposed

OUT = Console(highlight=False, soft_wrap=True, markup=False)
"""Results go to stdout."""
ERR = Console(stderr=True, highlight=False, markup=False)
"""Progress goes to stderr."""


def progress_bar() -> Progress:
    """A bar with counts, elapsed time and an estimate of what remains; gone when it is done.

    Shown on terminals only: a log file gets the results alone.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=ERR,
        transient=True,
        disable=not ERR.is_terminal,
    )


def opening_bar() -> Status:
    """Shown while a run is opened: Nerfstudio alone takes seconds to load. On terminals only."""
    return ERR.status("opening the run")


@contextmanager
def event_bar(title: str = "") -> Iterator[EventBar]:
    """A bar to be given as ``progress`` to whatever tells events.

    Args:
        title: put before what is being done.
    """
    with progress_bar() as bar:
        yield EventBar(bar, title)


class EventBar:
    """Shows what events tell: preparing, proposing, looking for words, segmenting."""

    def __init__(self, bar: Progress, title: str = "") -> None:
        self._bar, self._title, self._shown = bar, title, ""
        self._task = bar.add_task(f"{title}prompted views", total=None)
        self._objects: set[str] = set()
        self._finished = self._done = self._total = 0

    def __call__(self, event: Any) -> None:
        """Show an event; those of other kinds are passed over."""
        if isinstance(event, ViewPrepared):
            self._show("preparing views", event.index + 1, event.total)
        elif isinstance(event, MasksProposed):
            self._show("proposing objects", event.index + 1, event.total)
        elif isinstance(event, LookedAt):
            self._show(f"looking for {event.text!r}", event.index + 1, event.total)
        elif isinstance(event, RoundStarted | ViewDone | Finished):
            self._objects.add(event.object)
            self._visit(event)

    def _visit(self, event: RoundStarted | ViewDone | Finished) -> None:
        """Objects are segmented side by side: their rounds are counted together."""
        if isinstance(event, Finished):
            self._finished += 1
            return
        if isinstance(event, RoundStarted):
            if self._done == self._total:
                self._done = self._total = 0
                self._shown = ""
            self._total += event.views
        elif event.round > 0:
            self._done += 1
        many = f"{self._finished}/{len(self._objects)} objects done"
        who = event.object if len(self._objects) == 1 else many
        if self._total:
            self._show("segmenting", self._done, self._total, f"{who}, round {event.round}")

    def _show(self, work: str, done: int, total: int, said: str = "") -> None:
        """Show how far some work is; the clock starts anew when it is another."""
        if work != self._shown:
            self._bar.reset(self._task)
            self._shown = work
        self._bar.update(
            self._task, completed=done, total=total, description=self._title + (said or work)
        )


def prepare_with_progress(scene: Scene) -> dict[str, int]:
    """Prepare a scene under a progress bar.

    Returns:
        How many ``views`` it has, and how many of them were ``cached`` before.

    Raises:
        SA3DError: see ``Scene.prepare``.
    """
    cached = 0
    with event_bar() as bar:
        for done in scene.prepare():
            cached += done.cached
            bar(done)
    return {"views": len(scene.views), "cached": cached}


def rounds_table(rounds: Sequence[RoundDone]) -> Table:
    """Rounds as rows: flips, accepted, rejected, and agreement."""
    headers = ("object", "round", "flips", "accepted", "rejected", "agreement", "unvoted", "s")
    rows = [
        (
            done.object,
            str(done.round),
            str(done.flips),
            str(done.accepted),
            str(done.rejected),
            f"{done.agreement:.3f}",
            "-" if done.unvoted_agreement is None else f"{done.unvoted_agreement:.3f}",
            f"{done.seconds:.1f}",
        )
        for done in rounds
    ]
    return table(headers, rows)


def table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A plain table: the first column is text, the others are numbers."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for position, header in enumerate(headers):
        result.add_column(header, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        result.add_row(*row)
    return result
