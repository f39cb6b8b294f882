"""Output on the terminal: progress bars, tables, and sentences about results."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.prompt import Confirm
from rich.status import Status
from rich.table import Table
from rich.text import Text

from sa3d.base.printable import printable
from sa3d.objects.events import Finished, RoundDone, RoundStarted, ViewDone
from sa3d.scene.events import ViewPrepared
from sa3d.search.events import MasksProposed, ViewSearched

if TYPE_CHECKING:
    from sa3d.objects.segmentation import Segmentation
    from sa3d.scene.scene import Scene
    from sa3d.search.text_prompts import WordsChoice


class _Terminal(Console):
    """A console that prints text as it is: nothing in it is a command to the terminal or to rich.

    Names of objects, views and files come from anybody.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Make text of a string, with escapes made visible."""
        return super().render_str(printable(text), **options)


OUT = _Terminal(highlight=False, soft_wrap=True, markup=False, emoji=False)
"""Results go to stdout."""
ERR = _Terminal(stderr=True, highlight=False, markup=False, emoji=False)
"""Progress goes to stderr."""


def confirmed(question: str) -> bool:
    """Ask a question on the terminal; return False if there is none to ask on."""
    if not (sys.stdin.isatty() and ERR.is_terminal):
        return False
    return Confirm.ask(Text(printable(question)), console=ERR, default=False)


def progress_bar() -> Progress:
    """Return a bar with counts, elapsed time and the time that remains; it vanishes at the end.

    It is shown on terminals only, so that a log file gets the results alone.
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
    """Return a line that is shown while a run is opened: Nerfstudio alone loads for seconds."""
    return ERR.status("opening the run")


@contextmanager
def event_bar(title: str = "") -> Iterator[EventBar]:
    """Yield a bar that takes events, to be given as ``progress`` to what yields them.

    Args:
        title: put before the name of the work.
    """
    with progress_bar() as bar:
        yield EventBar(bar, title)


class EventBar:
    """A bar that follows events: preparing, proposing, looking for words, segmenting."""

    def __init__(self, bar: Progress, title: str = "") -> None:
        self._bar, self._title, self._work = bar, title, ""
        self._task = bar.add_task(f"{title}prompted views", total=None)
        self._objects: set[str] = set()
        self._finished = self._done = self._total = 0

    def __call__(self, event: Any) -> None:
        """Show an event; events of other kinds are ignored."""
        if isinstance(event, ViewPrepared):
            self._show("preparing views", event.index + 1, event.total)
        elif isinstance(event, MasksProposed):
            self._show("proposing objects", event.index + 1, event.total)
        elif isinstance(event, ViewSearched):
            self._show(f"looking for {event.text!r}", event.index + 1, event.total)
        elif isinstance(event, RoundStarted | ViewDone | Finished):
            self._objects.add(event.object)
            self._visit(event)

    def _visit(self, event: RoundStarted | ViewDone | Finished) -> None:
        """Count a visit. Objects are segmented side by side: their rounds are counted together."""
        if isinstance(event, Finished):
            self._finished += 1
            return
        if isinstance(event, RoundStarted):
            if self._done == self._total:
                self._done = self._total = 0
                self._work = ""
            self._total += event.views
        elif event.round > 0:
            self._done += 1
        many = f"{self._finished}/{len(self._objects)} objects done"
        name = event.object if len(self._objects) == 1 else many
        if self._total:
            self._show("segmenting", self._done, self._total, f"{name}, round {event.round}")

    def _show(self, work: str, done: int, total: int, description: str = "") -> None:
        """Show how far some work is; the clock restarts when the work is another one.

        Args:
            description: shown instead of ``work``.
        """
        if work != self._work:
            self._bar.reset(self._task)
            self._work = work
        description = printable(self._title + (description or work))
        self._bar.update(self._task, completed=done, total=total, description=description)


def prepare_with_progress(scene: Scene) -> dict[str, int]:
    """Prepare a scene under a progress bar.

    Returns:
        The number of ``views``, and how many of them were ``cached`` before.

    Raises:
        SA3DError: see ``Scene.prepare``.
    """
    cached = 0
    with event_bar() as bar:
        for done in scene.prepare():
            cached += done.cached
            bar(done)
    return {"views": len(scene.views), "cached": cached}


def table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a plain table: the first column is text, the others are numbers."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for position, header in enumerate(headers):
        result.add_column(header, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        result.add_row(*row)
    return result


def rounds_table(rounds: Sequence[RoundDone]) -> Table:
    """Return a table with a row per round: flips, accepted, rejected, and agreement."""
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


def print_outcome(segmentation: Segmentation, before: Mapping[str, int] | None = None) -> None:
    """Print the table of rounds, and a verdict per object.

    Args:
        before: the objects to print, each with the number of its rounds that were printed before;
            all rounds of all objects by default.
    """
    printed = dict.fromkeys(segmentation.objects, 0) if before is None else before
    objects = {name: segmentation.object(name) for name in printed}
    rounds = [done for name, one in objects.items() for done in one.rounds[printed[name] :]]
    OUT.print(rounds_table(rounds))
    for name, one in objects.items():
        OUT.print(f"{name}: {one.verdict}")


def print_choices(choices: Sequence[WordsChoice]) -> None:
    """Print the candidates that were found for words, the chosen one first."""
    headers = ("candidate", "view", "box", "score", "agreement", "views", "total")
    for choice in choices:
        rows = [
            (
                f"{position + 1}" + (", chosen" if position == 0 else ""),
                one.view,
                ",".join(f"{edge:g}" for edge in one.box),
                f"{one.score:.2f}",
                "-" if one.agreement is None else f"{one.agreement:.2f}",
                str(one.checked),
                f"{one.total:.2f}",
            )
            for position, one in enumerate(choice.candidates)
        ]
        OUT.print(f"{choice.object}: {choice.text!r} by {choice.detector}")
        OUT.print(table(headers, rows))


def print_folder(folder: Path) -> None:
    """Print where a segmentation was written."""
    OUT.print(f"segmentation: {folder}   pictures: {folder / 'overlay.png'}")
