"""Undo and redo against the plain list of all states there were."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa3d.base.history import Action, History

ACTIONS = st.lists(st.sampled_from(("act", "act", "group", "fail", "undo", "redo")), max_size=90)


@dataclass
class Box:
    """Holds a value that is changed."""

    value: int = 0


@dataclass(frozen=True)
class Was:
    """A change: the value that a box had."""

    box: Box
    value: int

    def swap(self) -> Was:
        reverse = Was(self.box, self.box.value)
        self.box.value = self.value
        return reverse


def values(action: Action | None, box: Box) -> list[int]:
    changes = [] if action is None else action.changes
    return [c.value for c in changes if isinstance(c, Was) and c.box is box]


@given(ACTIONS)
def test_every_state_comes_back(actions):
    history = History()
    states, at = [0], 0  # all states on the way, and which is the present one
    box, other = Box(), Box()
    for number, action in enumerate(actions, start=1):
        if action in ("act", "group", "fail"):
            with history.group("act"):
                history.remember(Was(box, box.value))
                box.value = number
                if action == "group":
                    history.remember(Was(box, box.value))
                    history.remember(Was(other, other.value))
                    other.value = number
            states = states[: at + 1]
            if action == "fail":
                history.take_back()
            else:
                states, at = [*states, number], at + 1
        elif action == "undo":
            assert history.undo() == (at > 0)
            at = max(at - 1, 0)
        else:
            assert history.redo() == (at + 1 < len(states))
            at = min(at + 1, len(states) - 1)
        assert box.value == states[at]
        last, following = values(history.last, box), values(history.next, box)
        assert min(last, default=None) == (states[at - 1] if at else None)
        is_next = states[at + 1] if at + 1 < len(states) else None
        assert max(following, default=None) == is_next


def test_a_hundred_actions_are_kept():
    history, box = History(), Box()
    for number in range(150):
        history.remember(Was(box, number))
    undone: list[int] = []
    while history.undo():
        undone.append(box.value)
    assert undone == list(range(149, 49, -1))


def test_changes_of_a_group_are_one_action_with_a_label():
    history, box, other = History(), Box(), Box()
    with history.group("both"):
        history.remember(Was(box, box.value))
        box.value = 1
        with history.group("an inner group joins the outer"):
            history.remember(Was(other, other.value), "so does a label")
            other.value = 2
    assert history.last is not None
    assert history.last.label == "both"
    assert history.undo()
    assert (box.value, other.value, history.last) == (0, 0, None)
    assert history.next is not None
    assert history.next.label == "both"
    assert history.redo()
    assert (box.value, other.value) == (1, 2)


def test_a_group_that_fails_is_taken_back_and_not_remembered():
    history, box = History(), Box()

    def fail() -> None:
        with history.group("fails"):
            history.remember(Was(box, box.value))
            box.value = 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert box.value == 0
    assert history.last is None
    history.remember(Was(box, box.value), "alone")
    assert history.last is not None
    assert history.last.label == "alone"


def test_an_empty_group_is_no_action():
    history = History()
    with history.group("nothing"):
        pass
    assert history.last is None
