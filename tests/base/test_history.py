"""Undo and redo against the plain list of all states there were."""

from hypothesis import given
from hypothesis import strategies as st

from sa3d.base.history import History

ACTIONS = st.lists(st.sampled_from(("act", "act", "fail", "undo", "redo")), max_size=90)


@given(ACTIONS)
def test_every_state_comes_back(actions):
    history: History[int] = History()
    states, at = [0], 0  # all states on the way, and which is the present one
    now = [0]

    def swap(step: int) -> int:
        was, now[0] = now[0], step
        return was

    for number, action in enumerate(actions, start=1):
        if action in ("act", "fail"):
            history.remember(now[0])
            now[0] = number
            states = states[: at + 1]
            if action == "fail":
                history.take_back(swap)
            else:
                states, at = [*states, number], at + 1
        elif action == "undo":
            assert history.undo(swap) == (at > 0)
            at = max(at - 1, 0)
        else:
            assert history.redo(swap) == (at + 1 < len(states))
            at = min(at + 1, len(states) - 1)
        assert now[0] == states[at]
        assert history.last == (states[at - 1] if at else None)
        assert history.next == (states[at + 1] if at + 1 < len(states) else None)


def test_a_hundred_steps_are_kept():
    history: History[int] = History()
    for number in range(150):
        history.remember(number)
    undone: list[int] = []
    while history.undo(lambda step: undone.append(step) or 0):
        pass
    assert undone == list(range(149, 49, -1))
