"""Options of a prompt, for the command line and ``ns-train``; or a file of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sa3d.base.errors import SA3DError
from sa3d.objects.names import DEFAULT_OBJECT
from sa3d.search.config import WordsConfig
from sa3d.segmenters.registry import AUTO

if TYPE_CHECKING:
    from sa3d.objects.prompts import Prompt


@dataclass(kw_only=True)
class PromptOptions:
    """The prompt, in pixels of the photo at its own size, (0, 0) top left."""

    view: str | None = None
    """The view the prompt is in, by its photo's file name."""
    points: tuple[str, ...] = ()
    """Pixels "x,y x,y ...", on the object unless --labels says otherwise."""
    labels: tuple[int, ...] = ()
    """One per point: 1 on the object, 0 beside it."""
    box: tuple[str, ...] = ()
    """Corners "x0,y0 x1,y1" of a box around the object."""
    mask: Path | None = None
    """Image of the photo's size, non-zero on the object; if parts of the image are transparent,
    opaque on the object."""
    text: str | None = None
    """Words that name the object, such as "the red mug"; without --view several views are searched.
    With --points, the points choose among the objects found; with --box or --mask, the words are
    only a note."""
    detector: str = AUTO
    """The detector for --text: "auto" (the best one on this machine, else grounding-dino-tiny), a
    name (`sa3d segmenters` lists them), a hub id, or a folder with weights."""
    words: WordsConfig = field(default_factory=WordsConfig)
    object: str = DEFAULT_OBJECT
    """Name of the object; its masks are written to a folder of that name."""
    prompts: Path | None = None
    """A prompts.json instead, for several views or objects: {"prompts": [{"view": "000.jpg",
    "object": "mug", "points": [[99, 159]], "labels": [1], "box": [60, 130, 129, 209]}, ...]}."""

    def read_prompts(self) -> list[Prompt]:
        """Return the prompts, read from the file if there is one.

        They are not checked against the scene yet.

        Raises:
            SA3DError: no prompt is given, prompts contradict each other, or the file is damaged.
        """
        marked = bool(self.points or self.labels or self.box or self.mask)
        typed = marked or self.text is not None
        if self.prompts is not None:
            if typed or self.view is not None:
                raise SA3DError(
                    "give either 'prompts', a file, or 'view' with 'points', 'box' or 'mask', not "
                    "both"
                )
            from sa3d.objects.prompts import load_prompts

            return load_prompts(self.prompts)
        if not typed:
            raise SA3DError(
                "no prompt given: mark the object with 'view' and 'points', 'box' or 'mask', name "
                "it with 'text', or give a file with 'prompts'"
            )
        from sa3d.detectors.protocol import checked_words
        from sa3d.objects.prompts import Prompt

        text = None if self.text is None else checked_words(self.text)
        numbers = _numbers("points", self.points)
        if len(numbers) % 2:
            raise SA3DError("'points' are pairs \"x,y x,y ...\": one number is left over")
        corners = _numbers("box", self.box)
        if corners and len(corners) != 4:
            raise SA3DError(f"'box' is \"x0,y0 x1,y1\", four numbers: there are {len(corners)}")
        return [
            Prompt.from_keywords(
                self.view,
                self.object,
                points=list(zip(numbers[::2], numbers[1::2], strict=True)),
                labels=self.labels or None,
                box=corners or None,
                mask=self.mask,
                text=text,
            )
        ]


def _numbers(option: str, tokens: Sequence[str]) -> list[float]:
    """Return the numbers in words like "120,80".

    Raises:
        SA3DError: a word is not made of numbers.
    """
    try:
        return [float(part) for token in tokens for part in token.split(",") if part.strip()]
    except ValueError as error:
        raise SA3DError(f"'{option}': {error}; numbers like 120,80 expected") from error
