"""What a caller marks in an opened scene, as prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.detectors.loading import load_detector
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.prompts import Prompt, as_labels
from sa3d.search.text_prompts import needs_words

Progress = Callable[[Any], object]
"""Called with every event: ``ViewPrepared``, those of ``sa3d.objects.events``, and what
searches tell. ``print`` will do."""

Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float, float]


def marked_prompts(
    name: str,
    view: str | None,
    points: Points,
    labels: Sequence[int] | None,
    box: Box | None,
    mask: Path | np.ndarray | None,
    text: str | None,
    prompts: Sequence[Prompt],
) -> list[Prompt]:
    """What was marked in one view, and further prompts, all for one object.

    Args:
        labels: one per point, all 1 by default.
        prompts: their own object names do not count.

    Raises:
        SA3DError: nothing is marked, or it is not said where.
    """
    pixels = _numbers("points", points, "[(x, y), ...]", (-1, 2))
    signs = _numbers("labels", labels, "[1, 0, ...]", (-1,)) if labels is not None else None
    marked = pixels or box is not None or mask is not None
    if marked and view is None:
        raise SA3DError("say with view= which photo the prompt is in")
    if view is not None and not isinstance(view, str | Path):
        raise SA3DError(f"view={view!r}: give the name of a photo (scene.views lists them)")
    named = [replace(prompt, object=name) for prompt in prompts]
    if not marked and text is None:
        if not named:
            raise SA3DError("no prompt given: points, a box, a mask or words, with view=")
        return named
    corners = None
    if box is not None:
        x0, y0, x1, y1 = _numbers("box", box, "(x0, y0, x1, y1)", (4,))
        corners = (x0, y0, x1, y1)
    typed = Prompt(
        view=str(view or ""),
        object=name,
        points=tuple((x, y) for x, y in pixels),
        labels=as_labels(signs or [1] * len(pixels)),
        box=corners,
        mask=None if mask is None else _mask(mask),
        text=text,
    )
    return [typed, *named]


def _numbers(what: str, given: Any, example: str, shape: tuple[int, ...]) -> list[Any]:
    """What a caller gave, as nested lists of floats of that shape; -1 takes any number.

    Raises:
        SA3DError: it is of another shape, or not of numbers.
    """
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(())
    if numbers.shape == (0,) and shape[0] < 0:
        return []
    fits = [wanted in (-1, there) for wanted, there in zip(shape, numbers.shape, strict=False)]
    if numbers.ndim != len(shape) or not all(fits):
        raise SA3DError(f"{what}={given!r} cannot be: give {what}={example}")
    return numbers.tolist()


def _mask(given: Any) -> Path | np.ndarray:
    """A mask as ``Prompt`` takes it.

    Raises:
        SA3DError: it is neither a file nor an array [H, W].
    """
    if isinstance(given, str | Path):
        return Path(given)
    array = np.asarray(given)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise SA3DError(
            f"mask= is an array of shape {array.shape}: give one value per pixel, [H, W], "
            "non-zero on the object, or the file of such an image"
        )
    return array


def detector_for(prompts: Sequence[Prompt], name: str, device: str) -> TextDetector | None:
    """The detector called ``name`` if any prompt has words that need one.

    Args:
        name: as ``sa3d segmenters`` lists them.
        device: torch device.

    Raises:
        SA3DError: see ``load_detector``.
    """
    return load_detector(name, device) if any(map(needs_words, prompts)) else None


def tell(events: Iterable[Any], progress: Progress | None) -> None:
    """Run through events, telling each."""
    for event in events:
        if progress is not None:
            progress(event)
