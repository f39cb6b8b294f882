"""What a caller marks, given as arguments, as the prompts of one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sa3d.errors import SA3DError
from sa3d.prompts import Prompt

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
    marked = len(points) or box is not None or mask is not None
    if marked and view is None:
        raise SA3DError("say with view= which photograph the prompt is in")
    named = [replace(prompt, object=name) for prompt in prompts]
    if not marked and text is None:
        if not named:
            raise SA3DError("no prompt given: points, a box, a mask or words, with view=")
        return named
    typed = Prompt(
        view=view or "",
        object=name,
        points=tuple((float(x), float(y)) for x, y in points),
        labels=tuple(labels) if labels is not None else (1,) * len(points),
        box=box,
        mask=mask,
        text=text,
    )
    return [typed, *named]
