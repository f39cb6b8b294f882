"""Events of the search for objects."""

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
class ViewSearched:
    """A view was searched for words.

    Attributes:
        found: number of detections that count.
        best_score: best score of all detections, also of those that do not count.
    """

    index: int
    total: int
    text: str
    view: str
    found: int
    best_score: float
