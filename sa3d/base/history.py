"""Undo and redo of reversible changes, shared by all objects that own a part of the state.

A ``Change`` can switch to another state. An object that changes its state adds such a change to the
history. With ``History.group``, a client combines several changes, its own included, into one
action:

    history = History()
    session = Session(scene, segmenter, history=history)
    with history.group("merge a and b"):
        session.merge_objects(["a", "b"], "a")  # the session adds its change
        history.remember(PanelChange(panel, panel.state))  # and the client adds its own
        panel.state = merged_state
    history.last.label  # "merge a and b"
    history.undo()  # both are as before
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

_LENGTH = 100
"""Largest number of actions that can be undone."""


class Change(Protocol):
    """Another state of an object, which can replace the present one."""

    def swap(self) -> Change:
        """Switch to the other state; return the change that switches back."""
        ...


@dataclass(frozen=True, eq=False)
class Action:
    """Changes that are undone and redone together.

    Attributes:
        label: names the action for users; may be empty.
        changes: in the order they were made.
    """

    label: str
    changes: tuple[Change, ...]

    def swap(self) -> Action:
        """Switch to all other states, the last change first; return the reverse action."""
        return Action(self.label, tuple(change.swap() for change in reversed(self.changes)))


class History:
    """Actions to undo and to redo."""

    def __init__(self) -> None:
        self._undo: list[Action] = []
        self._redo: list[Action] = []
        self._group: list[Change] | None = None

    @property
    def last(self) -> Action | None:
        """The action that ``undo`` would undo; None if there is none."""
        return self._undo[-1] if self._undo else None

    @property
    def next(self) -> Action | None:
        """The action that ``redo`` would redo; None if there is none."""
        return self._redo[-1] if self._redo else None

    def remember(self, before: Change, label: str = "") -> None:
        """Add an action, given the change that undoes it; drop the actions that could be redone.

        Inside a ``group`` the change becomes a part of the group's action.
        """
        if self._group is not None:
            self._group.append(before)
        else:
            self._append(Action(label, (before,)))

    @contextmanager
    def group(self, label: str) -> Iterator[None]:
        """Collect all changes in the block into one action; an inner group joins the outer one.

        If the block raises an error, its changes are undone, and no action is added.
        """
        if self._group is not None:
            yield
            return
        self._group = changes = []
        try:
            yield
        except BaseException:
            Action(label, tuple(changes)).swap()
            raise
        finally:
            self._group = None
        if changes:
            self._append(Action(label, tuple(changes)))

    def undo(self) -> bool:
        """Undo the last action; False if there is none."""
        if self._undo:
            self._redo.append(self._undo.pop().swap())
            return True
        return False

    def redo(self) -> bool:
        """Redo the action that was undone last; False if there is none."""
        if self._redo:
            self._undo.append(self._redo.pop().swap())
            return True
        return False

    def take_back(self) -> None:
        """Undo the last action because it failed; the action cannot be redone."""
        if self.undo():
            self._redo.clear()

    def _append(self, action: Action) -> None:
        self._undo.append(action)
        del self._undo[:-_LENGTH]
        self._redo.clear()
