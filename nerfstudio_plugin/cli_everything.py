"""``sa3d segment --everything``: no prompt, all objects several views agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from nerfstudio_plugin.cli_progress import OUT, follow, prepare_with_progress, progress_bar, table
from nerfstudio_plugin.cli_prompts import PromptOptions
from sa3d.errors import SA3DError
from sa3d.events import Event
from sa3d.everything import EverythingConfig, EverythingSession, FoundObject, ObjectsProposed
from sa3d.loop_config import LoopConfig
from sa3d.object_proposals import MasksProposed
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.segmenter import PromptableSegmenter


def refuse_prompts(options: PromptOptions) -> None:
    """Refuse what cannot be combined with ``--everything``.

    Raises:
        SA3DError: a prompt was given.
    """
    given = (options.view, options.points, options.labels, options.box, options.mask)
    if any(given) or options.text or options.prompts:
        raise SA3DError("--everything takes no prompts: leave it out, or leave the prompts out")


def segment_everything(
    scene: Scene, segmenter: PromptableSegmenter, loop: LoopConfig, config: EverythingConfig
) -> tuple[Segmentation, dict[str, Any], bool]:
    """Prepare a scene, find its objects under progress bars, and print their table.

    Returns:
        The segmentation, the table as JSON holds it, and whether the user stopped it: then they
        are what was finished.

    Raises:
        SA3DError: nothing was found that views agree on.
        KeyboardInterrupt: stopped before the first object was finished.
    """
    prepare_with_progress(scene)
    session = EverythingSession(scene, segmenter, loop, config)
    stopped = False
    try:
        _follow(session)
    except KeyboardInterrupt:
        if not session.finished:
            raise
        stopped = True
    segmentation, found = session.result()
    OUT.print(_found_table(found, len(scene.views)))
    return segmentation, {"found": [asdict(one) for one in found]}, stopped


def _follow(session: EverythingSession) -> None:
    """Run a session under progress bars."""
    events = session.run()
    count = 0
    with progress_bar() as bar:
        task = bar.add_task("proposing objects", total=None)
        for event in events:
            if isinstance(event, ObjectsProposed):
                count = event.count
                break
            if isinstance(event, MasksProposed):
                bar.update(task, total=event.total, completed=event.index + 1)
    for _ in follow(_loop_events(events), count):
        pass


def _loop_events(events: Iterator[MasksProposed | ObjectsProposed | Event]) -> Iterator[Event]:
    for event in events:
        if not isinstance(event, MasksProposed | ObjectsProposed):
            yield event


def _found_table(found: list[FoundObject], views: int) -> Any:
    headers = ("object", "views", "size", "agreement", "elements")
    return table(
        headers,
        [
            (
                one.name,
                f"{one.views}/{views}",
                f"{one.size:.3f}",
                f"{one.agreement:.3f}",
                str(one.elements),
            )
            for one in found
        ],
    )
