"""Marks: clicks and boxes in photos that are not segmented yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sa3d.objects.prompts import Prompt
from sa3d.scene.views import View
from sa3d.voting.photo_prompts import PhotoBox, PhotoPoint

Tool = Literal["look", "add", "remove", "box"]
"""Use of the pointer: turn the view, click on the object, click beside it, or drag a box."""


@dataclass(frozen=True)
class Mark:
    """A click or a box in a photo.

    Attributes:
        view: index of the photo's view.
        label: 1 object, 0 background; a box has 1.
        xy_px: position of a click; None for a box.
        box_px: x0, y0, x1, y1; None for a click.
        point_world: the marked surface point, or the one in the middle of a box.
    """

    view: int
    label: int
    xy_px: tuple[float, float] | None
    box_px: tuple[float, float, float, float] | None
    point_world: tuple[float, float, float]

    @classmethod
    def click(cls, found: PhotoPoint, label: int) -> Mark:
        """Make a mark from a click that was carried to a photo."""
        x, y, z = found.point_world.tolist()
        return cls(found.view, label, found.xy_px, None, (x, y, z))

    @classmethod
    def box(cls, found: PhotoBox) -> Mark:
        """Make a mark from a box that was carried to a photo."""
        x, y, z = found.point_world.tolist()
        return cls(found.view, 1, None, found.box_px, (x, y, z))


def prompts_of(
    marks: Sequence[Mark], views: Sequence[View], name: str, candidate: int | None = None
) -> list[Prompt]:
    """Make an object's prompts from marks: one per photo, the photo marked last at the end.

    Of several boxes in a photo the last one counts.

    Args:
        candidate: the segmenter's candidate to use in the photo marked last; None: its best one.
    """
    order = list(dict.fromkeys(mark.view for mark in reversed(marks)))[::-1]
    prompts = []
    for index in order:
        here = [mark for mark in marks if mark.view == index]
        clicks = [mark for mark in here if mark.xy_px is not None]
        boxes = [mark.box_px for mark in here if mark.box_px is not None]
        prompts.append(
            Prompt(
                views[index].name,
                name,
                tuple(mark.xy_px for mark in clicks if mark.xy_px is not None),
                tuple(mark.label for mark in clicks),
                boxes[-1] if boxes else None,
                candidate=candidate if index == order[-1] else None,
            )
        )
    return prompts


def mark_description(mark: Mark, views: Sequence[View]) -> str:
    """Describe a mark, as in ``000024.jpg: click beside it``."""
    kind = "box" if mark.box_px is not None else "click" if mark.label else "click beside it"
    return f"{views[mark.view].name}: {kind}"


def prompt_description(prompt: Prompt) -> str:
    """Describe a prompt, as in ``000024.jpg: 2 clicks, 1 beside it``."""
    parts = []
    if prompt.box is not None:
        parts.append("box")
    if prompt.mask is not None:
        parts.append("mask")
    on_object, beside = prompt.labels.count(1), prompt.labels.count(0)
    if on_object:
        parts.append(f"{on_object} click{'s' if on_object > 1 else ''}")
    if beside:
        parts.append(f"{beside} beside it")
    if prompt.text:
        parts.append(f"“{prompt.text}”")
    return f"{prompt.view}: {', '.join(parts)}"
