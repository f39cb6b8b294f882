"""Tests of several objects in one pass, and of rounds that are stopped and continued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.evaluation.simulated_user import box_of
from sa3d.loop import rounds
from sa3d.loop.config import LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.session import Session
from sa3d.objects.events import Event, Finished, RoundDone, RoundStarted, ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult, ViewRecord
from sa3d.scene.scene import Scene
from sa3d.scene.view_operator import ViewOperator
from sa3d.segmenters.protocol import MaskPrediction
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleErrors, OracleSegmenter
from sa3d.voting.mask_rendering import RenderedMask


def session_in(still_life: AnalyticScene, *prompts: Prompt) -> Session:
    """Return a session with a segmenter that errs, so that rounds change something."""
    views = still_life.scene.views
    segmenter = OracleSegmenter(
        {view.name: view.image() for view in views},
        {v.name: {n: m[i] for n, m in still_life.masks.items()} for i, v in enumerate(views)},
        OracleErrors(leak=0.3, seed=1),
    )
    session = Session(still_life.scene, segmenter)
    if prompts:
        session.add_prompts(prompts)
    return session


def prompt(still_life: AnalyticScene, name: str, view: int) -> Prompt:
    return Prompt(still_life.scene.views[view].name, name, mask=still_life.masks[name][view])


def same(one: ObjectResult, other: ObjectResult) -> bool:
    """Return whether evidence and records agree bit for bit."""
    return (
        torch.equal(one.evidence.object, other.evidence.object)
        and torch.equal(one.evidence.total, other.evidence.total)
        and one.verdict == other.verdict
        and list(one.views) == list(other.views)
        and all(
            (a.outcome, a.agreement, a.score, a.confidence)
            == (b.outcome, b.agreement, b.score, b.confidence)
            and (a.mask is b.mask is None or (a.mask == b.mask).all())
            for a, b in zip(one.views.values(), other.views.values(), strict=True)
        )
    )


def test_objects_in_one_pass_fare_as_if_each_were_alone(still_life: AnalyticScene) -> None:
    # Ball and crate visit every view together, the table another one in each step.
    views = {"ball": 0, "crate": 0, "table": 7}
    prompts = [prompt(still_life, name, view) for name, view in views.items()]
    together = session_in(still_life, *prompts)
    list(together.run())
    for one in prompts:
        alone = session_in(still_life, one)
        list(alone.run())
        name = one.object
        assert same(together.result().object(name), alone.result().object(name))


def test_each_view_is_encoded_once_and_rendered_by_one_product(
    still_life: AnalyticScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [prompt(still_life, name, 0) for name in ("ball", "crate")]
    calls: list[str] = []

    def counted(owner: type, name: str) -> None:
        original: Callable[..., object] = getattr(owner, name)

        def call(self: object, *args: object) -> object:
            calls.append(name)
            return original(self, *args)

        monkeypatch.setattr(owner, name, call)

    counted(Scene, "encode")
    counted(ViewOperator, "render_local")
    counted(ViewOperator, "splat_local")
    visited = []
    for event in session_in(still_life, *prompts).run():
        if isinstance(event, RoundStarted) and event.round == 1:
            calls.clear()
        elif isinstance(event, RoundDone):
            break
        elif isinstance(event, ViewDone):
            visited.append((event.object, event.view))
    views = [view.name for view in still_life.scene.views[1:]]
    assert sorted(visited[2:]) == sorted((name, v) for v in views for name in ("ball", "crate"))
    first_round = calls[: 2 * 3 * len(views)]
    assert first_round.count("encode") <= len(views)
    # K masks each way: one product renders a view, one votes; the rest belongs to the round's end.
    at_the_end = 2 * 3
    assert calls.count("render_local") <= len(views) + at_the_end
    assert calls.count("splat_local") <= len(views) + at_the_end


def test_events_of_each_object_come_in_order(
    still_life: AnalyticScene, uninterrupted: tuple[Session, list[Event]]
) -> None:
    _, events = uninterrupted
    for name in ("ball", "crate"):
        mine = [event for event in events if event.object == name]
        assert isinstance(mine[0], ViewDone)
        assert isinstance(mine[1], RoundStarted)
        assert isinstance(mine[-2], RoundDone)
        assert isinstance(mine[-1], Finished)
        rounds = [event.round for event in mine[1:-1] if not isinstance(event, Finished)]
        assert rounds == sorted(rounds)
        started = [event for event in mine if isinstance(event, RoundStarted)]
        assert [event.views for event in started] == [len(still_life.scene.views) - 1] * len(
            started
        )


@pytest.fixture(scope="module")
def uninterrupted(still_life: AnalyticScene) -> tuple[Session, list[Event]]:
    """Ball and crate, prompted in views 0 and 5, and the events."""
    session = session_in(still_life, prompt(still_life, "ball", 0), prompt(still_life, "crate", 5))
    return session, list(session.run())


@pytest.mark.parametrize("stop", [1, 3, 9, 27])
def test_a_stopped_run_is_gone_on_with(
    still_life: AnalyticScene, uninterrupted: tuple[Session, list[Event]], stop: int
) -> None:
    whole, expected = uninterrupted
    session = session_in(still_life, prompt(still_life, "ball", 0), prompt(still_life, "crate", 5))
    events = session.run()
    seen = [next(events) for _ in range(stop)]
    del events
    seen += session.run()
    for name in ("ball", "crate"):
        assert same(session.result().object(name), whole.result().object(name))
    visits, all_visits = (
        [e for e in some if isinstance(e, ViewDone) and e.round > 0] for some in (seen, expected)
    )
    # Both objects' views of a step are done when the first event arrives.
    assert len(all_visits) - 1 <= len(visits) <= len(all_visits)


def test_a_stopped_object_is_not_finished(still_life: AnalyticScene) -> None:
    session = session_in(still_life, prompt(still_life, "ball", 0))
    events = session.run()
    for _ in range(20):
        next(events)
    one = session.result().object("ball")
    assert (one.converged, one.verdict) == (False, "stopped before the end")


def test_what_a_stopped_run_did_can_be_undone(still_life: AnalyticScene) -> None:
    session = session_in(still_life, prompt(still_life, "ball", 0))
    list(session.run())
    before = session.result()
    session.add_prompts([prompt(still_life, "crate", 5), prompt(still_life, "ball", 4)])
    events = session.run()
    for _ in range(8):
        next(events)
    assert session.undo()
    assert list(session.result().objects) == ["ball"]
    assert same(session.result().object("ball"), before.object("ball"))
    assert list(session.run()) == []
    assert session.redo()
    list(session.run())
    assert session.result().object("crate").converged


@pytest.mark.parametrize("stop", [1, 8])
def test_prompts_added_to_a_stopped_object(still_life: AnalyticScene, stop: int) -> None:
    session = session_in(still_life, prompt(still_life, "ball", 0), prompt(still_life, "crate", 2))
    events = session.run()
    for _ in range(stop):
        next(events)
    session.add_prompts([prompt(still_life, "ball", 6)])
    done = [event for event in session.run() if isinstance(event, Finished)]
    assert sorted(event.object for event in done) == ["ball", "crate"]
    records = session.result().object("ball").views
    assert [i for i, record in records.items() if record.outcome == "prompted"] == [0, 6]
    assert len(records) == len(still_life.scene.views)
    rounds = session.result().object("ball").rounds
    assert [done.round for done in rounds] == list(range(1, len(rounds) + 1))


def test_a_correction_that_was_stopped_is_made_again(still_life: AnalyticScene) -> None:
    session = session_in(still_life, prompt(still_life, "ball", 0))
    list(session.run())
    session.add_prompts([prompt(still_life, "ball", 6)])
    events = session.run()
    for _ in range(3):
        next(events)
    done = list(session.run())
    assert isinstance(done[-1], Finished)
    assert session.result().object("ball").views[6].outcome == "prompted"
    assert list(session.run()) == []


def test_a_round_that_was_kept_is_not_changed_by_what_follows(still_life: AnalyticScene) -> None:
    only_lifted = LoopConfig()
    only_lifted.convergence.min_best_agreement = 1.1  # out of range, and so never reached
    segmenter = session_in(still_life).segmenter
    session = Session(still_life.scene, segmenter, only_lifted)
    session.add_prompts([prompt(still_life, "ball", 0)])
    events = session.run()
    for _ in range(16):
        next(events)
    session.rename_object("ball", "orb")  # in the middle of the rounds
    list(session.run())
    before = session.result().object("orb")
    assert set(before.views) == {0}
    session.add_prompts([replace(prompt(still_life, "ball", 6), object="orb")])
    list(session.run())
    assert session.undo()
    assert session.undo()
    list(session.run())
    assert set(session.result().object("ball").views) == {0}


def test_an_object_prompted_in_all_views_is_lifted_from_them(still_life: AnalyticScene) -> None:
    prompts = [prompt(still_life, "ball", view) for view in range(len(still_life.scene.views))]
    session = session_in(still_life, *prompts)
    assert not [event for event in session.run() if isinstance(event, RoundDone)]
    one = session.result().object("ball")
    assert one.converged
    assert one.verdict == "lifted from the prompted views alone"


def test_views_that_do_not_vote_do_not_keep_a_loop_from_converging(
    still_life: AnalyticScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view flickers between two outcomes without a vote, and all others are settled."""
    flickering, right = 4, rounds._self_prompt
    kinds = cycle(("unseen", "no prompt"))

    def without_prompt(loop: ObjectLoop, index: int, rendered: RenderedMask) -> Any:
        made = right(loop, index, rendered)
        return replace(made, prompt=None) if index == flickering else made

    monkeypatch.setattr(rounds, "_self_prompt", without_prompt)
    record = ViewRecord("unseen", 0.0, 0.0, 0.0)
    monkeypatch.setattr(rounds, "_no_mask", lambda _: replace(record, outcome=next(kinds)))
    session = session_in(still_life, prompt(still_life, "ball", 0))
    events = list(session.run())
    name = still_life.scene.views[flickering].name
    seen = [e.outcome for e in events if isinstance(e, ViewDone) and e.view == name]
    done = [e for e in events if isinstance(e, RoundDone)]
    assert len(seen) > 1
    assert set(seen) == {"unseen", "no prompt"}
    assert done[0].changed_views > 0
    assert done[-1].changed_views == 0
    assert session.result().object("ball").converged


class _Numberless(OracleSegmenter):
    """Segmenter that gives no numbers as scores in the images of some views."""

    broken: Sequence[np.ndarray] = ()

    def predict(self, *args: Any, **kwargs: Any) -> MaskPrediction:
        found = super().predict(*args, **kwargs)
        image = self.save_state()["image"]
        if any(np.array_equal(image, one) for one in self.broken):
            return replace(found, scores=np.full_like(found.scores, np.nan))
        return found


def numberless_in(still_life: AnalyticScene, *views: int) -> Session:
    session = session_in(still_life)
    session.segmenter.__class__ = _Numberless
    session.segmenter.broken = [still_life.scene.views[i].image() for i in views]  # type: ignore[attr-defined]
    return session


def test_a_view_without_scores_is_rejected_and_the_others_vote(still_life: AnalyticScene) -> None:
    session = numberless_in(still_life, 4)
    session.add_prompts([prompt(still_life, "ball", 0)])
    list(session.run())
    records = session.result().object("ball").views
    assert records[4].outcome == "rejected"
    assert records[4].reason.startswith("oracle gave scores that are not numbers")
    assert sum(record.outcome == "accepted" for record in records.values()) > 5


def test_a_prompt_without_scores_is_an_error_that_names_the_segmenter(
    still_life: AnalyticScene,
) -> None:
    session = numberless_in(still_life, 0)
    box = box_of(still_life.masks["ball"][0])
    session.add_prompts([Prompt(still_life.scene.views[0].name, "ball", box=box)])
    with pytest.raises(SA3DError, match="oracle gave scores that are not numbers"):
        list(session.run())
