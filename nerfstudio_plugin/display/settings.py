"""Settings of how the viewer shows a segmentation; a frozen dataclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["scene", "overlay", "outline", "object only", "without object", "probability"]
"""In this order: the field as it is, objects tinted, objects outlined, objects alone, the scene
without them, and a heat map of the probability that a pixel is object."""

MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Display:
    """Settings of how objects are shown.

    Raises:
        ValueError: the mode is unknown, or the threshold is not in (0, 1).
    """

    mode: Mode = "overlay"
    """See ``Mode``."""
    objects: tuple[str, ...] = ()
    """Names of the objects to show; all of them if empty. Unknown names are ignored."""
    threshold: float = 0.5
    """Evidence share above which an element is object, in (0, 1); the segmentation itself uses
    lambda / (1 + lambda), which is 0.5 by default."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"no display mode {self.mode!r}; there are: {', '.join(MODES)}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"the threshold must lie between 0 and 1, is {self.threshold}")

    @property
    def cuts(self) -> bool:
        """True if a part of the scene is left out, so that the rest must be rendered without it."""
        return self.mode in ("object only", "without object")

    def chosen(self, names: Sequence[str]) -> list[int]:
        """Return the indices of the names of objects to show."""
        wanted = self.objects or names
        return [index for index, name in enumerate(names) if name in wanted]
