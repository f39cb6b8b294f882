"""Ranges of numbers in settings: declared at the field, checked when settings are made."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from sa3d.base.errors import SA3DError, shown


@dataclass(frozen=True)
class Within:
    """Range of a number, or of the length of a list, for ``Annotated`` types.

    Attributes:
        least, most: the ends, which belong to the range; an infinite ``most`` does not.
        above: True if ``least`` does not belong to the range.
    """

    least: float
    most: float = math.inf
    above: bool = False

    def __contains__(self, value: Any) -> bool:
        """Return whether a number is in the range; NaN, infinity and 2**63 never are."""
        over = value > self.least if self.above else value >= self.least
        return over and value <= self.most and value <= sys.maxsize

    def __str__(self) -> str:
        """Return the range in words."""
        if self.most < math.inf:
            return f"{'above' if self.above else 'between'} {self.least} and " + (
                f"at most {self.most}" if self.above else f"{self.most}"
            )
        return f"above {self.least}" if self.above else f"at least {self.least}"


SHARE = Within(0, 1)
NOT_NEGATIVE = Within(0)
POSITIVE = Within(0, above=True)
AT_LEAST_ONE = Within(1)


class Checked:
    """Base class of dataclasses with settings: checks the numbers in them.

    Each field that may be a number declares its range; None is allowed where the type allows it.

    Example:
        >>> @dataclass
        ... class LoopConfig(Checked, place="loop"):
        ...     held_out: Annotated[float, SHARE] = 0.1
        >>> LoopConfig(held_out=2.0)
        Traceback (most recent call last):
        SA3DError: 'loop.held_out' must be between 0 and 1, is 2.0
    """

    _place: ClassVar[str] = ""

    def __init_subclass__(cls, place: str = "", **options: Any) -> None:
        """Set the name of the settings in files and options, for messages."""
        super().__init_subclass__(**options)
        cls._place = place or cls._place

    def __post_init__(self) -> None:
        """Check all numbers.

        Raises:
            SA3DError: a value is out of range, or no number; the message names it and its range.
        """
        for name, (allowed, whole) in ranges(type(self)).items():
            value: Any = getattr(self, name)
            if value is None and name in may_be_none(type(self)):
                continue
            number = type(value) is not bool and isinstance(value, Integral if whole else Real)
            if number and value in allowed:
                continue
            place = f"{self._place}.{name}" if self._place else name
            kind = "a whole number, " if whole and not number else ""
            raise SA3DError(f"'{place}' must be {kind}{allowed}, is {shown(value)}")


@cache
def ranges(kind: Any) -> dict[str, tuple[Within, bool]]:
    """Return the ranges that a dataclass declares, and whether only whole numbers are allowed."""
    hints = get_type_hints(kind, include_extras=True)
    found: dict[str, tuple[Within, bool]] = {}
    for name in (item.name for item in fields(kind)):
        if get_origin(hints[name]) is Annotated:
            inner, *notes = get_args(hints[name])
            whole = float not in (inner, *get_args(inner))
            found.update((name, (note, whole)) for note in notes if isinstance(note, Within))
    return found


@cache
def may_be_none(kind: Any) -> frozenset[str]:
    """Return the names of the fields of a dataclass that may be None."""
    hints = get_type_hints(kind)
    return frozenset(name for name, hint in hints.items() if NoneType in get_args(hint))
