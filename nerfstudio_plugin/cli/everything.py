"""``sa3d segment --everything``: no prompt, all objects several views agree on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.api.prompt_options import PromptOptions
from nerfstudio_plugin.cli.progress import OUT, event_bar, table
from sa3d.base.errors import SA3DError
from sa3d.search.config import EverythingConfig
from sa3d.search.everything import FoundObject, found_objects


def refuse_prompts(options: PromptOptions) -> None:
    """Refuse what cannot be combined with ``--everything``.

    Raises:
        SA3DError: a prompt was given.
    """
    given = (options.view, options.points, options.labels, options.box, options.mask)
    if any(given) or options.text or options.prompts:
        raise SA3DError("--everything takes no prompts: leave it out, or leave the prompts out")


def segment_everything(opened: OpenScene, config: EverythingConfig) -> tuple[dict[str, Any], bool]:
    """Find a scene's objects under progress bars, and print their table.

    Returns:
        The table as JSON holds it, and whether the user stopped it: then the objects are those that
        were finished.

    Raises:
        SA3DError: nothing was found that views agree on.
        KeyboardInterrupt: stopped before the first object was finished.
    """
    stopped = False
    try:
        with event_bar() as bar:
            opened.segment_everything(config, bar)
    except KeyboardInterrupt:
        if not opened.objects:
            raise
        stopped = True
    found = found_objects(opened.segmentation)
    OUT.print(_found_table(found, len(opened.views)))
    return {"found": [asdict(one) for one in found]}, stopped


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
