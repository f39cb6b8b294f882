"""The event that preparing a scene yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewPrepared:
    """A view is prepared; ``cached`` is True if its operator was read from the cache."""

    index: int
    total: int
    view: str
    cached: bool
