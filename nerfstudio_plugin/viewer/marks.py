"""What the user has marked and not yet segmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sa3d.objects.prompts import Prompt
from sa3d.scene.views import View
from sa3d.voting.photo_prompts import PhotoBox, PhotoPoint

Tool = Literal["look", "add", "remove", "box"]
"""What a click in the scene does: turn the camera, mark the object, mark what it is not, box it."""


@dataclass(frozen=True)
class Mark:
    """A click or a box in a photo.

    Attributes:
        view: the photo's index.
        label: of a click, 1 object, 0 background.
        xy_px: where the click is; None for a box.
        box_px: x0, y0, x1, y1; None for a click.
        point_world: where it is in 3D.
    """

    view: int
    label: int
    xy_px: tuple[float, float] | None
    box_px: tuple[float, float, float, float] | None
    point_world: tuple[float, float, float]

    @classmethod
    def click(cls, found: PhotoPoint, label: int) -> Mark:
        """A click that was carried to a photo."""
        x, y, z = found.point_world.tolist()
        return cls(found.view, label, found.xy_px, None, (x, y, z))

    @classmethod
    def box(cls, found: PhotoBox) -> Mark:
        """A box that was carried to a photo."""
        x, y, z = found.point_world.tolist()
        return cls(found.view, 1, None, found.box_px, (x, y, z))


def prompts_of(
    marks: Sequence[Mark], views: Sequence[View], name: str, candidate: int | None = None
) -> list[Prompt]:
    """Marks as prompts for an object, one per photo; the photo marked last comes last.

    Args:
        candidate: which of the segmenter's candidates is taken in the photo marked last.
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


def mark_described(mark: Mark, views: Sequence[View]) -> str:
    """A mark in a few words."""
    what = "box" if mark.box_px is not None else "click" if mark.label else "click beside it"
    return f"{views[mark.view].name}: {what}"


def described(prompt: Prompt) -> str:
    """A prompt in a few words, as in ``000024.jpg: 2 clicks, 1 beside it``."""
    said = []
    if prompt.box is not None:
        said.append("box")
    if prompt.mask is not None:
        said.append("mask")
    on, beside = prompt.labels.count(1), prompt.labels.count(0)
    if on:
        said.append(f"{on} click{'s' if on > 1 else ''}")
    if beside:
        said.append(f"{beside} beside it")
    if prompt.text:
        said.append(f"“{prompt.text}”")
    return f"{prompt.view}: {', '.join(said)}"
