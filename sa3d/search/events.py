"""Events that searching for objects yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MasksProposed:
    """A view was searched, and ``found`` masks were proposed in it."""

    index: int
    total: int
    view: str
    found: int


@dataclass(frozen=True)
class ObjectsProposed:
    """All views were searched; ``count`` objects were proposed and their loops begin."""

    count: int


@dataclass(frozen=True)
class LookedAt:
    """A view was searched for words.

    Attributes:
        found: how many detections count.
        best_score: the best score of all detections, also of those that do not count.
    """

    index: int
    total: int
    text: str
    view: str
    found: int
    best_score: float
