"""Prompts as users give them: points, a box, a mask or words, in a named view."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.objects.names import DEFAULT_OBJECT, check_object_name
from sa3d.scene.views import View, find_view

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Prompt:
    """What a user marked in one view.

    Attributes:
        view: image name; empty with words alone, which are then looked for in several views.
        object: name of the object it belongs to.
        points: (x, y) pixel indices at the image's original size.
        labels: 1 object, 0 background, one per point.
        box: (x0, y0, x1, y1) pixel indices at the original size, corners included.
        mask: PNG (or any image) of the view's size, non-zero is object, or opaque if any of it is
            transparent; or a bool array [H, W].
        text: words naming the object.
        candidate: 0, 1 or 2 takes this one of the segmenter's three candidates for points and a
            box; None the one it scores best.
    """

    view: str
    object: str = DEFAULT_OBJECT
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Path | np.ndarray | None = field(default=None, compare=False)
    text: str | None = None
    candidate: int | None = None

    def __post_init__(self) -> None:
        where = f"prompt for {self.object!r} in {self.view!r}"
        if not self.points and self.box is None and self.mask is None and not self.text:
            raise SA3DError(f"{where} is empty: give points, a box, a mask or a text")
        if len(self.points) != len(self.labels):
            raise SA3DError(f"{where}: {len(self.points)} points but {len(self.labels)} labels")
        if any(label not in (0, 1) for label in self.labels):
            raise SA3DError(f"{where}: labels must be 1 (object) or 0 (background)")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise SA3DError(f"{where}: box {_numbers(self.box)} is empty: give x0 y0 x1 y1")
        if self.candidate not in (None, 0, 1, 2):
            raise SA3DError(f"{where}: candidate is 0, 1 or 2, not {self.candidate!r}")
        check_object_name(self.object)
        check_together([self])

    @property
    def clicks(self) -> list[tuple[tuple[float, float], int]]:
        """Each point with its label: ((x, y), 1 or 0)."""
        return list(zip(self.points, self.labels, strict=True))

    def check_against(self, width: int, height: int) -> None:
        """Check that everything lies inside the view's image.

        Raises:
            SA3DError: a point or the box is outside.
        """
        where = f"prompt for {self.object!r} in {self.view!r} ({width} x {height} px)"
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise SA3DError(f"{where}: point ({x:g}, {y:g}) lies outside the image")
        if self.box is None:
            return
        x0, y0, x1, y1 = self.box
        if min(x0, y0) < 0 or x1 > width or y1 > height:
            raise SA3DError(f"{where}: box {_numbers(self.box)} lies outside the image")
        for (x, y), label in self.clicks:
            if label == 1 and not (x0 <= x <= x1 and y0 <= y <= y1):
                raise SA3DError(f"{where}: object point ({x:g}, {y:g}) lies outside the box")

    def load_mask(self, width: int, height: int) -> np.ndarray | None:
        """The mask prompt, bool [H, W], or None.

        Raises:
            SA3DError: unreadable, of another size, or empty.
        """
        if self.mask is None:
            return None
        name = "mask prompt" if isinstance(self.mask, np.ndarray) else f"mask {str(self.mask)!r}"
        if isinstance(self.mask, np.ndarray):
            values = self.mask
        else:
            import PIL.Image

            try:
                with PIL.Image.open(self.mask) as image:
                    values = _mask_values(image)
            except OSError as error:
                raise SA3DError(f"cannot read {name}: {error}") from error
        mask = values > (127 if values.dtype == np.uint8 and values.max(initial=0) > 127 else 0)
        if mask.shape != (height, width):
            raise SA3DError(
                f"{name} is {mask.shape[1]} x {mask.shape[0]} px, "
                f"but view {self.view!r} is {width} x {height} px"
            )
        if not mask.any():
            raise SA3DError(
                f"{name} is empty: paint the object; where it is not, give points beside it"
            )
        return mask

    def to_json(self) -> dict[str, Any]:
        """The prompt as one entry of ``prompts.json``. Arrays are left out: save them as files."""
        entry: dict[str, Any] = {"view": self.view, "object": self.object}
        if self.points:
            entry |= {"points": [list(p) for p in self.points], "labels": list(self.labels)}
        if self.box is not None:
            entry["box"] = list(self.box)
        if isinstance(self.mask, Path):
            entry["mask"] = str(self.mask)
        if self.text:
            entry["text"] = self.text
        if self.candidate is not None:
            entry["candidate"] = self.candidate
        return entry


def prompt_from_json(entry: Mapping[str, Any], folder: Path) -> Prompt:
    """One entry of ``prompts.json``; mask files are relative to ``folder``.

    Raises:
        SA3DError: unknown keys, missing view, or values of the wrong kind.
    """
    known = {"view", "object", "points", "labels", "box", "mask", "text", "candidate"}
    if not isinstance(entry, Mapping):
        raise SA3DError('every prompt is an object {"view": ..., ...}')
    for key, kind in (("text", "words"), ("mask", "an image's file name"), ("object", "a name")):
        if not isinstance(entry.get(key), str | None):
            raise SA3DError(f'the "{key}" of a prompt is {kind} in quotes, not {entry[key]!r}')
    text, mask, name = entry.get("text"), entry.get("mask"), entry.get("object")
    words_alone = bool(text) and not {"points", "box", "mask"} & set(entry)
    view = entry.get("view", "" if words_alone else None)
    if not isinstance(view, str):
        raise SA3DError('every prompt needs a "view", the name of an image')
    unknown = sorted(set(entry) - known)
    if unknown:
        raise SA3DError(
            f"unknown key {unknown[0]!r} in a prompt; known: {', '.join(sorted(known))}"
        )
    try:
        points = tuple((float(x), float(y)) for x, y in entry.get("points", ()))
        given = entry.get("labels", [1] * len(points))
        labels = as_labels(given)
        box = entry.get("box")
        if box is not None:
            x0, y0, x1, y1 = (float(value) for value in box)
            box = (x0, y0, x1, y1)
    except (TypeError, ValueError) as error:
        raise SA3DError(
            f"prompt in {view!r}: points are [[x, y], ...], labels [1, 0, ...] "
            "and a box [x0, y0, x1, y1]"
        ) from error
    return Prompt(
        view=view,
        object=DEFAULT_OBJECT if name is None else name,
        points=points,
        labels=labels,
        box=box,
        mask=folder / mask if mask else None,
        text=text,
        candidate=entry.get("candidate"),
    )


def load_prompts(path: Path) -> list[Prompt]:
    """Read ``prompts.json``: ``{"prompts": [{"view": ..., ...}, ...]}``.

    Raises:
        SA3DError: missing, not JSON, or no prompts in it.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise SA3DError(f"cannot read prompts file {str(path)!r}: {error.strerror}") from error
    except ValueError as error:
        raise SA3DError(f"prompts file {str(path)!r} is not valid JSON: {error}") from error
    entries = content.get("prompts") if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise SA3DError(
            f'prompts file {str(path)!r} holds no prompts: {{"prompts": [...]}} expected'
        )
    return [prompt_from_json(entry, path.parent) for entry in entries]


def prompts_in_views(prompts: Sequence[Prompt], views: Sequence[View]) -> list[Prompt]:
    """The prompts, with their views' own names.

    Raises:
        SA3DError: there is none, or one does not fit its view.
    """
    if not prompts:
        raise SA3DError("no prompt given: mark the object in at least one view")
    for prompt in prompts:
        if not prompt.points and prompt.box is None and prompt.mask is None:
            raise SA3DError(
                f"words ({prompt.text!r}) mark nothing here: give points, a box or a mask"
            )
    found = [find_view(views, prompt.view) for prompt in prompts]
    for prompt, view in zip(prompts, found, strict=True):
        prompt.check_against(view.camera.width, view.camera.height)
        _check_on_mask(prompt, prompt.load_mask(view.camera.width, view.camera.height))
    return [replace(p, view=view.name) for p, view in zip(prompts, found, strict=True)]


def as_labels(given: Sequence[Any]) -> tuple[int, ...]:
    """Labels as integers where they are 1 or 0; others stay, for ``Prompt`` to refuse."""
    return tuple(int(one) if one in (0, 1) else one for one in given)


def check_marks_object(prompts: Sequence[Prompt]) -> None:
    """Check that the prompts of one view say where the object is, not only where it is not.

    Raises:
        SA3DError: there are background points only.
    """
    if not any(1 in p.labels or p.box or p.mask is not None for p in prompts):
        raise SA3DError(
            f"the prompt for {prompts[0].object!r} in {prompts[0].view!r} has background points "
            "only: add a point on the object"
        )


def check_together(prompts: Sequence[Prompt]) -> None:
    """Check that prompts for one object in one view do not contradict each other.

    Raises:
        SA3DError: a point is object in one and background in another.
    """
    seen: dict[tuple[float, float], int] = {}
    for prompt in prompts:
        for point, label in prompt.clicks:
            if seen.setdefault(point, label) != label:
                raise SA3DError(
                    f"prompt for {prompt.object!r} in {prompt.view!r}: point {point} is both"
                    " object and background: take one back"
                )


def _mask_values(image: Image) -> np.ndarray:
    """Grey values [H, W] uint8 of an image; if any of it is transparent, where it is not, bool."""
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if (alpha < 255).any():
            return alpha > 127
    return np.asarray(image.convert("L"))


def _check_on_mask(prompt: Prompt, mask: np.ndarray | None) -> None:
    """Check that points do not contradict the mask [H, W] of the same prompt, if it has one.

    Raises:
        SA3DError: one does.
    """
    for (x, y), label in prompt.clicks:
        if mask is not None and mask[int(y), int(x)] != label:
            said, drawn = ("object", "background") if label else ("background", "object")
            raise SA3DError(
                f"prompt for {prompt.object!r} in {prompt.view!r}: point ({x:g}, {y:g}) is both"
                f" {said} and, in the mask, {drawn}: take it back, or give it after the mask"
            )


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
