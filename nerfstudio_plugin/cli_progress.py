"""What the terminal shows while work is done: bars with an estimate, and tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from sa3d.events import Event, Finished, RoundDone, RoundStarted, ViewDone
from sa3d.prompts import Prompt
from sa3d.scene import Scene

if TYPE_CHECKING:
    from nerfstudio_plugin.open_scene import OpenScene

OUT = Console(highlight=False, soft_wrap=True)
"""Results go to stdout."""
ERR = Console(stderr=True, highlight=False)
"""Progress goes to stderr."""


def progress_bar() -> Progress:
    """A bar with counts, elapsed time and an estimate of what remains; gone when it is done.

    Shown on terminals only: a log file gets the results alone.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=ERR,
        transient=True,
        disable=not ERR.is_terminal,
    )


def prepare_with_progress(scene: Scene) -> dict[str, int]:
    """Prepare a scene under a progress bar.

    Returns:
        How many ``views`` it has, and how many of them were ``cached`` before.

    Raises:
        SA3DError: see :meth:`sa3d.scene.Scene.prepare`.
    """
    cached = 0
    with progress_bar() as bar:
        task = bar.add_task("preparing views", total=len(scene.views))
        for done in scene.prepare():
            cached += done.cached
            bar.update(task, completed=done.index + 1)
    return {"views": len(scene.views), "cached": cached}


def run_with_progress(opened: OpenScene, prompts: Sequence[Prompt]) -> Iterator[Event]:
    """Add prompts to an open scene and run them under progress bars; prepares what has to be.

    Raises:
        SA3DError: see :meth:`nerfstudio_plugin.open_scene.OpenScene.run_prompts`.
    """
    opened.check(prompts)
    prepare_with_progress(opened.scene)
    yield from follow(opened.run_prompts(prompts), len({prompt.object for prompt in prompts}))


def follow(events: Iterable[Event], objects: int) -> Iterator[Event]:
    """Show events as progress and pass them on; objects are segmented side by side."""
    finished = done = total = 0
    with progress_bar() as bar:
        task = bar.add_task("prompted views", total=None)
        for event in events:
            if isinstance(event, RoundStarted):
                if done == total:
                    done = total = 0
                    bar.reset(task)
                total += event.views
                who = event.object if objects == 1 else f"{finished}/{objects} objects done"
                bar.update(task, total=total, description=f"{who}, round {event.round}")
            elif isinstance(event, ViewDone) and event.round > 0:
                done += 1
                bar.advance(task)
            elif isinstance(event, Finished):
                finished += 1
            yield event


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


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table: the first column is text, the others are numbers."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for position, header in enumerate(headers):
        result.add_column(header, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        result.add_row(*row)
    return result
