"""Undo and redo of steps that the caller swaps in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

_Step = TypeVar("_Step")

_LENGTH = 100
"""Steps that can be undone."""


class StepHistory(Generic[_Step]):
    """Undo and redo. A step is how things were before an action, or, once undone, after it.

    Whoever goes back or forth gives ``swap``: it puts a step's things in place and returns how they
    were until then.
    """

    def __init__(self) -> None:
        self._undo: list[_Step] = []
        self._redo: list[_Step] = []

    @property
    def last(self) -> _Step | None:
        """What ``undo`` would take back; None if there is nothing."""
        return self._undo[-1] if self._undo else None

    @property
    def next(self) -> _Step | None:
        """What ``redo`` would do again; None if there is nothing."""
        return self._redo[-1] if self._redo else None

    def remember(self, before: _Step) -> None:
        """Note how things are before an action; what was undone is forgotten."""
        self._undo.append(before)
        del self._undo[:-_LENGTH]
        self._redo.clear()

    def undo(self, swap: Callable[[_Step], _Step]) -> bool:
        """Take the last action back; False if there is none."""
        if self._undo:
            self._redo.append(swap(self._undo.pop()))
            return True
        return False

    def redo(self, swap: Callable[[_Step], _Step]) -> bool:
        """Do again what was undone last; False if there is nothing."""
        if self._redo:
            self._undo.append(swap(self._redo.pop()))
            return True
        return False

    def take_back(self, swap: Callable[[_Step], _Step]) -> None:
        """Take the last action back as if it had never been: it failed, and is not done again."""
        if self.undo(swap):
            self._redo.clear()
