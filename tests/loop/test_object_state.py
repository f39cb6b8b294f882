"""Tests of what is asked of an object's state: a question changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sa3d.loop import correction
from sa3d.loop.config import LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.object_state import ObjectState
from sa3d.loop.rounds import segment_object
from sa3d.objects.prompts import Prompt
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleErrors, OracleSegmenter

QUESTIONS: dict[str, Callable[[ObjectState], object]] = {
    "prompt_agreement": lambda state: [state.prompt_agreement(i) for i in state.prompted],
    "render_others": lambda state: [state.render_others(i) for i in state.records],
    "render": lambda state: [state.render(i) for i in state.records],
    "mask": lambda state: [state.mask(i) for i in state.records],
    "vote_of": lambda state: [state.vote_of(i) for i in state.votes],
    "share_outside_photos": lambda state: state.share_outside_photos(),
}


@pytest.fixture
def loop(still_life: AnalyticScene) -> ObjectLoop:
    """A finished loop of a segmenter that errs, so that votes overlap; prompted in two views."""
    views = still_life.scene.views
    segmenter = OracleSegmenter(
        {view.name: view.image() for view in views},
        {v.name: {n: m[i] for n, m in still_life.masks.items()} for i, v in enumerate(views)},
        OracleErrors(leak=0.3, seed=1),
    )
    prompts = [Prompt(views[i].name, "ball", mask=still_life.masks["ball"][i]) for i in (0, 5)]
    made = ObjectLoop(still_life.scene, segmenter, "ball", prompts, LoopConfig())
    list(segment_object(made))
    return made


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_changes_no_bit(loop: ObjectLoop, question: str) -> None:
    state = loop.state
    evidence = [state.evidence.object.clone(), state.evidence.total.clone()]
    votes, records = dict(state.votes), dict(state.records)
    QUESTIONS[question](state)
    assert torch.equal(state.evidence.object, evidence[0])
    assert torch.equal(state.evidence.total, evidence[1])
    assert list(state.votes) == list(votes)
    assert all(state.votes[i] is vote for i, vote in votes.items())
    assert state.records == records


def test_the_other_views_are_rendered_as_if_the_view_had_not_voted(loop: ObjectLoop) -> None:
    state = loop.state
    for index in state.prompted:
        asked = state.render_others(index).probability
        without = state.copy()
        without.recount_votes({i: vote for i, vote in state.votes.items() if i != index})
        assert (asked - without.render(index).probability).abs().max() < 1e-4


def test_a_look_at_the_neighbours_that_is_interrupted_changes_nothing(
    loop: ObjectLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(correction, "visit", interrupted)
    state = loop.state
    with pytest.raises(KeyboardInterrupt):
        correction._neighbours_agree(loop, [0], {})
    assert loop.state is state
