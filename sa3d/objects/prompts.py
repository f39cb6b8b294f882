"""Prompts as users give them: points, a box, a mask, or words, in a named view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from sa3d.base.errors import SA3DError, shown
from sa3d.base.image_files import read_image
from sa3d.base.json_files import read_json
from sa3d.objects.names import DEFAULT_OBJECT, check_object_name
from sa3d.scene.views import View, find_view

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Unpack


class PromptKeywords(TypedDict, total=False):
    """The keywords of a prompt beside its view and its object; every one is optional.

    Functions that take these keywords declare ``**keywords: Unpack[PromptKeywords]``.

    Attributes:
        points: pixels ``[(x, y), ...]`` of the photo at its own size, (0, 0) top left; or an
            array [N, 2].
        labels: one per point, 1 on the object, 0 beside it; all 1 by default.
        box: ``(x0, y0, x1, y1)`` around the object, pixels, corners included.
        mask: array [H, W], non-zero on the object; or the file of such an image, or of an image
            that is transparent beside the object.
        text: words that name the object; a detector finds them.
        candidate: index (0, 1 or 2) of the candidate mask to use, of the segmenter's three for
            points and a box; by default, the candidate with the best score.
    """

    points: Sequence[tuple[float, float]] | np.ndarray
    labels: Sequence[int] | np.ndarray | None
    box: Sequence[float] | np.ndarray | None
    mask: Path | str | np.ndarray | None
    text: str | None
    candidate: int | None


@dataclass(frozen=True)
class Prompt:
    """A prompt: what a user marks in one view.

    Equal prompts have equal values in all fields; mask arrays are compared by their pixels.

    Example:
        >>> Prompt("frame_00024.jpg", "mug", points=((412, 233),))

    Attributes:
        view: name of the view; empty for words alone, which are then searched in several views.
        object: name of the object the prompt belongs to.
        points: (x, y) pixel indices at the photo's own size.
        labels: 1 on the object, 0 beside it, one per point; all 1 if left out.
        box: (x0, y0, x1, y1) pixel indices at the photo's own size, corners included.
        mask: PNG (or any image) of the photo's size, non-zero on the object, or opaque on the
            object if any of it is transparent; or an array [H, W].
        text: words that name the object.
        candidate: index (0, 1 or 2) of the candidate mask to use, of the segmenter's three for
            points and a box; None for the candidate with the best score.
    """

    view: str
    object: str = DEFAULT_OBJECT
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Path | np.ndarray | None = field(default=None, compare=False)  # compared in __eq__
    text: str | None = None
    candidate: int | None = None

    def __post_init__(self) -> None:
        """Fill in labels, and check the values, also their types.

        Raises:
            SA3DError: nothing is marked, or a value is invalid.
        """
        check_object_name(self.object)
        if not isinstance(self.view, str):
            raise SA3DError(f"'view' must be the name of a view, not {shown(self.view)}")
        if not isinstance(self.text, str | None):
            raise SA3DError(f"'text' must be words, not {shown(self.text)}")
        points = _numbers("points", self.points, "[(x, y), ...]", (-1, 2))
        object.__setattr__(self, "points", tuple((x, y) for x, y in points))
        labels = _labels(self.labels) or (1,) * len(points)
        object.__setattr__(self, "labels", labels)
        if self.box is not None:
            corners = _numbers("box", self.box, "(x0, y0, x1, y1)", (4,))
            object.__setattr__(self, "box", tuple(corners))
        object.__setattr__(self, "mask", _mask(self.mask))
        where = f"prompt for {self.object!r} in {self.view!r}"
        if not self.points and self.box is None and self.mask is None and not self.text:
            raise SA3DError(f"{where} is empty: give points, a box, a mask or a text")
        if len(self.points) != len(self.labels):
            raise SA3DError(f"{where}: {len(self.points)} points but {len(self.labels)} labels")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise SA3DError(f"{where}: box {_listed(self.box)} is empty: give x0 y0 x1 y1")
        if self.candidate is not None:
            if not _is_number(self.candidate) or self.candidate not in (0, 1, 2):
                raise SA3DError(
                    f"{where}: 'candidate' must be 0, 1 or 2, not {shown(self.candidate)}"
                )
            object.__setattr__(self, "candidate", int(self.candidate))
        check_together([self])

    def __eq__(self, other: object) -> bool:
        """Compare all fields; masks by their pixels."""
        if not isinstance(other, Prompt):
            return NotImplemented
        mine, theirs = self.mask, other.mask
        if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
            same_mask = np.array_equal(mine, theirs)
        else:
            same_mask = type(mine) is type(theirs) and mine == theirs
        return same_mask and self._fields_but_mask() == other._fields_but_mask()

    def __hash__(self) -> int:
        """Hash all fields but the mask, so that equal prompts have equal hashes."""
        return hash(self._fields_but_mask())

    def _fields_but_mask(self) -> tuple[Any, ...]:
        return (
            *(self.view, self.object, self.points, self.labels),
            *(self.box, self.text, self.candidate),
        )

    @classmethod
    def from_keywords(
        cls,
        view: str | None = None,
        object: str = DEFAULT_OBJECT,
        **keywords: Unpack[PromptKeywords],
    ) -> Prompt:
        """Make a prompt from a caller's keywords, as ``segment`` takes them; check their types.

        Example:
            >>> Prompt.from_keywords("frame_00024.jpg", "mug", points=np.array([[412, 233]]))

        Args:
            view: name of the view; may be None for words alone.
            object: name of the object.
            keywords: see ``PromptKeywords``.

        Raises:
            SA3DError: nothing is marked, the view is missing, or a value is invalid.
            TypeError: there is no such keyword.
        """
        if unknown := set(keywords) - PromptKeywords.__optional_keys__:
            raise TypeError(f"a prompt has no keyword {min(unknown)!r}")
        given: Any = {key: value for key, value in keywords.items() if value is not None}
        points = _numbers("points", given.pop("points", ()), "[(x, y), ...]", (-1, 2))
        if view is None and (points or {"labels", "box", "mask"} & given.keys()):
            raise SA3DError("'view' is missing: name the view that the prompt is in")
        name: Any = str(view or "") if isinstance(view, str | Path | None) else view
        return cls(name, object, tuple((x, y) for x, y in points), **given)

    @property
    def labeled_points(self) -> list[tuple[tuple[float, float], int]]:
        """Each point with its label: ((x, y), 1 or 0)."""
        return list(zip(self.points, self.labels, strict=True))

    def check_against(self, width: int, height: int) -> None:
        """Check that points and box lie inside a photo of this size, in pixels.

        Raises:
            SA3DError: a point or the box lies outside, or an object point outside the box.
        """
        where = f"prompt for {self.object!r} in {self.view!r} ({width} x {height} px)"
        for x, y in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise SA3DError(f"{where}: point ({x:g}, {y:g}) lies outside the image")
        if self.box is None:
            return
        x0, y0, x1, y1 = self.box
        if min(x0, y0) < 0 or x1 > width or y1 > height:
            raise SA3DError(f"{where}: box {_listed(self.box)} lies outside the image")
        for (x, y), label in self.labeled_points:
            if label == 1 and not (x0 <= x <= x1 and y0 <= y <= y1):
                raise SA3DError(f"{where}: object point ({x:g}, {y:g}) lies outside the box")

    def load_mask(self, width: int, height: int) -> np.ndarray | None:
        """Return the mask, bool [H, W], from the array or the file; None if there is no mask.

        Raises:
            SA3DError: the mask is unreadable, of another size, or empty.
        """
        name = self._mask_name

        def check_size(mask_width: int, mask_height: int) -> None:
            if (mask_width, mask_height) != (width, height):
                raise SA3DError(
                    f"{name} is {mask_width} x {mask_height} px, "
                    f"but view {self.view!r} is {width} x {height} px"
                )

        if isinstance(self.mask, np.ndarray):
            check_size(self.mask.shape[1], self.mask.shape[0])
        mask = self.drawn_mask(check_size)
        if mask is not None and not mask.any():
            raise SA3DError(
                f"{name} is empty: paint the object; to mark what is beside it, give points with "
                "label 0"
            )
        return mask

    def drawn_mask(self, check_size: Callable[[int, int], None] | None = None) -> np.ndarray | None:
        """Return the mask, bool [H, W], of any size; None if there is no mask.

        Args:
            check_size: called with width and height of a mask file before it is decoded.

        Raises:
            SA3DError: the mask is unreadable.
        """
        if self.mask is None:
            return None
        if isinstance(self.mask, np.ndarray):
            values = self.mask
        else:
            values = _mask_values(read_image(self.mask, "mask", check_size=check_size))
        return values > (127 if values.dtype == np.uint8 and values.max(initial=0) > 127 else 0)

    @property
    def _mask_name(self) -> str:
        return f"mask {str(self.mask)!r}" if isinstance(self.mask, Path) else "mask prompt"

    def to_json(self) -> dict[str, Any]:
        """Return the prompt as an entry of ``prompts.json``. Mask arrays are left out."""
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
    """Make a prompt from an entry of ``prompts.json``; mask files are relative to ``folder``.

    Raises:
        SA3DError: a key is unknown, the view is missing, or a value is invalid.
    """
    if not isinstance(entry, Mapping):
        raise SA3DError('every prompt is an object {"view": ..., ...}')
    known = {"view", "object", *PromptKeywords.__optional_keys__}
    if unknown := sorted(set(entry) - known):
        raise SA3DError(
            f"unknown key {unknown[0]!r} in a prompt; known: {', '.join(sorted(known))}"
        )
    for key, kind in (("text", "words"), ("mask", "an image's file name"), ("object", "a name")):
        if not isinstance(entry.get(key), str | None):
            raise SA3DError(f'the "{key}" of a prompt is {kind} in quotes, not {shown(entry[key])}')
    words_alone = bool(entry.get("text")) and not {"points", "box", "mask"} & set(entry)
    view = entry.get("view", "" if words_alone else None)
    if not isinstance(view, str):
        raise SA3DError('every prompt needs a "view", the name of a view')
    name, mask = entry.get("object"), entry.get("mask")
    keywords: Any = {key: entry[key] for key in PromptKeywords.__optional_keys__ & set(entry)}
    keywords["mask"] = folder / mask if mask else None
    try:
        return Prompt.from_keywords(view, DEFAULT_OBJECT if name is None else name, **keywords)
    except SA3DError as error:
        message = str(error)
        if message.startswith("prompt "):
            raise
        for key in keywords:
            message = message.replace(f"'{key}'", f'"{key}"')
        raise SA3DError(f"prompt in {view!r}: {message}") from error


def load_prompts(path: Path) -> list[Prompt]:
    """Read ``prompts.json``: ``{"prompts": [{"view": ..., ...}, ...]}``.

    Raises:
        SA3DError: the file is missing, is not JSON, or has no prompts.
    """
    content = read_json(path, "prompts file")
    entries = content.get("prompts") if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise SA3DError(
            f'prompts file {str(path)!r} holds no prompts: {{"prompts": [...]}} expected'
        )
    return [prompt_from_json(entry, path.parent) for entry in entries]


def prompts_in_views(prompts: Sequence[Prompt], views: Sequence[View]) -> list[Prompt]:
    """Check prompts against their views, and return them with the views' full names.

    Raises:
        SA3DError: there is no prompt, or one does not fit its view.
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


def check_marks_object(prompts: Sequence[Prompt]) -> None:
    """Check that the prompts for one object in one view mark more than background.

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
        for point, label in prompt.labeled_points:
            if seen.setdefault(point, label) != label:
                raise SA3DError(
                    f"prompt for {prompt.object!r} in {prompt.view!r}: point {point} is both"
                    " object and background: remove one of the two"
                )


def _mask_values(image: Image) -> np.ndarray:
    """Return an image in grey, [H, W]; if any pixel is transparent, its opaque pixels instead."""
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if (alpha < 255).any():
            return alpha > 127
    return np.asarray(image.convert("L"))


def _check_on_mask(prompt: Prompt, mask: np.ndarray | None) -> None:
    """Check that points do not contradict the mask [H, W] of the same prompt, if it has one.

    Raises:
        SA3DError: a point contradicts the mask.
    """
    for (x, y), label in prompt.labeled_points:
        if mask is not None and mask[int(y), int(x)] != label:
            point, drawn = ("object", "background") if label else ("background", "object")
            raise SA3DError(
                f"prompt for {prompt.object!r} in {prompt.view!r}: point ({x:g}, {y:g}) is both"
                f" {point} and, in the mask, {drawn}: remove it, or give it in a prompt of its own"
            )


def _numbers(name: str, given: Any, example: str, shape: tuple[int, ...]) -> list[Any]:
    """Convert a caller's numbers to nested lists of floats of a shape; -1 allows any length.

    Raises:
        SA3DError: the value has another shape, or is not of finite numbers.
    """
    try:
        values = given if isinstance(given, np.ndarray) else np.array(given, dtype=object)
        # In an array of objects, text and truth values are still what they were.
        plain = values.dtype.kind in "iuf" or all(map(_is_number, values.flat))
        numbers = values.astype(np.float64) if plain else np.empty(())
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(())
    if numbers.shape == (0,) and shape[0] < 0:
        return []
    fits = [wanted in (-1, found) for wanted, found in zip(shape, numbers.shape, strict=False)]
    if numbers.ndim != len(shape) or not all(fits):
        raise SA3DError(f"'{name}' must be {example}, not {shown(given)}")
    if not np.isfinite(numbers).all():
        raise SA3DError(f"'{name}' must be {example}, finite numbers, not {shown(given)}")
    return numbers.tolist()


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _labels(given: Any) -> tuple[int, ...]:
    """Return labels as integers.

    Raises:
        SA3DError: the labels are not a flat list of 1 and 0.
    """
    if isinstance(given, np.ndarray) and given.dtype == bool:  # such as mask[rows, columns]
        given = given.astype(int)
    found = _numbers("labels", given, "[1, 0, ...]", (-1,))
    if any(label not in (0, 1) for label in found):
        raise SA3DError(f"labels must be 1 (object) or 0 (background), not {shown(given)}")
    return tuple(map(int, found))


def _mask(given: Any) -> Path | np.ndarray | None:
    """Return a mask as ``Prompt`` keeps it.

    Raises:
        SA3DError: the mask is neither a file nor an array [H, W].
    """
    if given is None:
        return None
    if isinstance(given, str | Path):
        return Path(given)
    array = np.asarray(given)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise SA3DError(
            f"'mask' has the shape {array.shape}: give one value per pixel, [H, W], non-zero on "
            "the object, or the file of such an image"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SA3DError("'mask' has values that are not finite: give 1 on the object, 0 beside it")
    return array


def _listed(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
