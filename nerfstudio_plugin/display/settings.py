"""What the viewer shows of a segmentation: plain settings, replaced as a whole when one changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["scene", "overlay", "outline", "object only", "without object", "probability"]
"""The NeRF as it is; objects tinted; their contours; nothing else; everything else; a heat map of
how likely each pixel is object."""

MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Display:
    """How objects are shown.

    Raises:
        ValueError: no such mode, or a threshold outside (0, 1).
    """

    mode: Mode = "overlay"
    """See ``Mode``."""
    objects: tuple[str, ...] = ()
    """Names of the objects shown; all of them if empty. Unknown names are left out."""
    threshold: float = 0.5
    """Evidence share above which something is object, in (0, 1); lambda / (1 + lambda) is what
    the segmentation itself uses, 0.5 by default."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"no display mode {self.mode!r}; there are: {', '.join(MODES)}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"the threshold must lie between 0 and 1, is {self.threshold}")

    @property
    def cuts(self) -> bool:
        """Whether something is left out, so that what lay behind it has to be rendered."""
        return self.mode in ("object only", "without object")

    def chosen(self, names: Sequence[str]) -> list[int]:
        """Places of the objects shown among these names."""
        wanted = self.objects or names
        return [number for number, name in enumerate(names) if name in wanted]
