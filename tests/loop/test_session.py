"""Tests of the whole loop on an analytic scene, with a segmenter that knows the masks, or errs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.evaluation.simulated_user import box_of, next_click
from sa3d.evaluation.stages import iou, mean_iou_over_views
from sa3d.loop.config import ConvergenceConfig, LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.rounds import segment_object
from sa3d.loop.session import Session
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.events import Finished, RoundDone, ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.results.final_masks import final_mask
from sa3d.segmenters.protocol import MaskPrediction
from sa3d.testing.analytic_scene import AnalyticScene, analytic_scene
from sa3d.testing.oracle_segmenter import OracleErrors, OracleSegmenter


@pytest.fixture(scope="module")
def analytic(tmp_path_factory: pytest.TempPathFactory) -> AnalyticScene:
    return analytic_scene(tmp_path_factory.mktemp("analytic"), num_views=14)


def oracle(analytic: AnalyticScene, errors: OracleErrors | None = None) -> OracleSegmenter:
    views = analytic.scene.views
    return OracleSegmenter(
        {view.name: view.image() for view in views},
        {
            view.name: {name: masks[i] for name, masks in analytic.masks.items()}
            for i, view in enumerate(views)
        },
        errors,
    )


def prompt(analytic: AnalyticScene, name: str = "ball", view: int = 0) -> Prompt:
    return Prompt(analytic.scene.views[view].name, name, mask=analytic.masks[name][view])


def mean_iou(analytic: AnalyticScene, session: Session, name: str) -> float:
    result = session.result()
    views = range(len(analytic.scene.views))
    masks = [final_mask(analytic.scene, result, name, i)[0] for i in views]
    return mean_iou_over_views(masks, list(analytic.masks[name]))


def test_one_prompted_view_becomes_a_mask_in_every_view(analytic: AnalyticScene) -> None:
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([prompt(analytic)])
    events = list(session.run())
    assert isinstance(events[-1], Finished)
    assert events[-1].converged
    assert mean_iou(analytic, session, "ball") > 0.95


def test_every_view_reports_an_outcome_with_its_reason(analytic: AnalyticScene) -> None:
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([prompt(analytic)])
    events = list(session.run())
    first = [e for e in events if isinstance(e, ViewDone) and e.round == 1]
    assert {e.view for e in first} == {v.name for v in analytic.scene.views[1:]}
    assert all(e.reason for e in first)
    done = next(e for e in events if isinstance(e, RoundDone))
    assert done.accepted == sum(e.outcome == "accepted" for e in first)
    assert done.rejected == sum(e.outcome == "rejected" for e in first)
    assert sum(e.outcome == "held out" for e in first) >= 1
    assert done.unvoted_agreement is not None


def test_objects_do_not_touch_each_other(analytic: AnalyticScene) -> None:
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([prompt(analytic, "ball"), prompt(analytic, "crate", view=5)])
    list(session.run())
    labels = session.result().labels()
    assert set(labels.unique().tolist()) == {-1, 0, 1}
    for name in ("ball", "crate"):
        assert mean_iou(analytic, session, name) > 0.95


def test_without_objects_all_is_background(analytic: AnalyticScene) -> None:
    labels = Session(analytic.scene, oracle(analytic)).result().labels()
    assert labels.tolist() == [-1] * len(analytic.scene.elements)


def test_several_prompted_views_count_as_the_user_said(analytic: AnalyticScene) -> None:
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([prompt(analytic, view=0), prompt(analytic, view=7)])
    list(session.run())
    records = session.result().object("ball").views
    assert [i for i, r in records.items() if r.outcome == "prompted"] == [0, 7]
    mask = records[7].mask
    assert mask is not None
    np.testing.assert_array_equal(mask, analytic.masks["ball"][7])


@pytest.mark.parametrize("seed", range(3))
def test_the_gate_keeps_a_segmenter_that_finds_nothing_from_voting(
    analytic: AnalyticScene, seed: int
) -> None:
    segmenter = oracle(analytic, OracleErrors(empty=0.3, seed=seed))
    session = Session(analytic.scene, segmenter)
    session.add_prompts([prompt(analytic)])
    events = list(session.run())
    rejected = [e for e in events if isinstance(e, ViewDone) and e.outcome == "rejected"]
    assert rejected
    assert all("gate" in e.reason for e in rejected)
    assert mean_iou(analytic, session, "ball") > 0.9


def test_a_second_round_changes_nothing_at_the_fixed_point(analytic: AnalyticScene) -> None:
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([prompt(analytic)])
    rounds = [e for e in session.run() if isinstance(e, RoundDone)]
    assert rounds[-1].flips <= 0.01 * rounds[-1].labelled
    assert rounds[-1].changed_views == 0


def test_votes_are_replaced_not_doubled(analytic: AnalyticScene) -> None:
    config = LoopConfig(convergence=ConvergenceConfig(max_rounds=3, flip_tolerance=-1))
    session = Session(analytic.scene, oracle(analytic), config)
    session.add_prompts([prompt(analytic)])
    totals = []
    for event in session.run():
        if isinstance(event, RoundDone):
            totals.append(float(session.result().object("ball").evidence.total.sum()))
    assert len(totals) == 3
    assert totals[2] == pytest.approx(totals[1], rel=1e-3)


def test_no_rounds_gives_the_lifted_view(analytic: AnalyticScene) -> None:
    config = LoopConfig(convergence=ConvergenceConfig(max_rounds=0))
    session = Session(analytic.scene, oracle(analytic), config)
    session.add_prompts([prompt(analytic)])
    list(session.run())
    assert set(session.result().object("ball").views) == {0}


def test_stopping_anywhere_leaves_a_usable_result(analytic: AnalyticScene) -> None:
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([prompt(analytic)])
    events: Iterator[object] = iter(session.run())
    for _ in range(5):
        next(events)
    mask, _ = final_mask(analytic.scene, session.result(), "ball", 0)
    assert iou(mask, analytic.masks["ball"][0]) > 0.8
    assert session.result().object("ball").verdict == "stopped before the end"


def test_the_loop_is_deterministic(analytic: AnalyticScene) -> None:
    hashes = set()
    for _ in range(2):
        session = Session(analytic.scene, oracle(analytic, OracleErrors(leak=0.3, seed=1)))
        session.add_prompts([prompt(analytic)])
        list(session.run())
        evidence = session.result().object("ball").evidence
        hashes.add(hashlib.sha256(evidence.object.numpy().tobytes()).hexdigest())
    assert len(hashes) == 1


class _DriftingSegmenter(OracleSegmenter):
    """Segmenter that returns the mask prompt, a little smaller every time."""

    def predict(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        prediction = super().predict(*args, **kwargs)
        self.calls = getattr(self, "calls", 0) + 1
        keep = max(0.0, 1 - 0.012 * self.calls)
        masks = prediction.masks.copy()
        for mask in masks:
            rows = np.flatnonzero(mask.any(axis=1))
            if len(rows):
                mask[rows[0] : rows[0] + round((1 - keep) * len(rows))] = False
        return type(prediction)(masks, prediction.scores, prediction.logits)


def test_a_drifting_loop_is_not_answered_with_its_last_round(analytic: AnalyticScene) -> None:
    base = oracle(analytic)
    segmenter = _DriftingSegmenter.__new__(_DriftingSegmenter)
    segmenter.__dict__.update(base.__dict__)
    config = LoopConfig(
        inertia=-1.0,
        convergence=ConvergenceConfig(max_rounds=4, flip_tolerance=-1, min_best_agreement=0.0),
    )
    loop = ObjectLoop(analytic.scene, segmenter, "ball", [prompt(analytic)], config)
    last = list(segment_object(loop))[-1]
    assert isinstance(last, Finished)
    assert last.chosen_round < last.rounds
    assert "agreed less" in last.verdict


class _OtherObjectSegmenter(OracleSegmenter):
    """Segmenter that is right in the prompted view, and finds another object in all others."""

    def predict(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        prediction = super().predict(*args, **kwargs)
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 1:
            return prediction
        masks = np.zeros_like(prediction.masks)
        masks[:, masks.shape[1] // 2 :] = True
        return type(prediction)(masks, prediction.scores, prediction.logits)


def test_a_loop_that_lost_the_object_is_answered_with_the_lifted_view(
    analytic: AnalyticScene,
) -> None:
    segmenter = _OtherObjectSegmenter.__new__(_OtherObjectSegmenter)
    segmenter.__dict__.update(oracle(analytic).__dict__)
    config = LoopConfig(min_agreement=0.0, max_gap=1e9, reach=1e9)
    loop = ObjectLoop(analytic.scene, segmenter, "ball", [prompt(analytic)], config)
    last = list(segment_object(loop))[-1]
    assert isinstance(last, Finished)
    assert last.chosen_round == 0
    assert "prompt another view" in last.verdict
    assert [record.outcome for record in loop.result().views.values()] == ["prompted"]


def test_a_restored_round_has_the_evidence_it_had(analytic: AnalyticScene) -> None:
    loop = ObjectLoop(analytic.scene, oracle(analytic), "ball", [prompt(analytic)], LoopConfig())
    list(segment_object(loop))
    before = loop.state.evidence.total.clone()
    loop.state.recount_votes(dict(loop.state.votes))
    torch.testing.assert_close(loop.state.evidence.total, before, rtol=1e-4, atol=1e-4)


def test_prompts_that_cannot_be_followed_are_refused_at_once(analytic: AnalyticScene) -> None:
    session = Session(analytic.scene, oracle(analytic))
    name = analytic.scene.views[0].name
    with pytest.raises(SA3DError, match="no prompt"):
        session.add_prompts([])
    with pytest.raises(SA3DError, match="outside the image"):
        session.add_prompts([Prompt(name, points=((1000, 3),), labels=(1,))])
    with pytest.raises(SA3DError, match="nowhere"):
        session.add_prompts([Prompt("nowhere.png", box=(1, 1, 5, 5))])
    with pytest.raises(SA3DError, match="background points only"):
        session.add_prompts([Prompt(name, points=((3, 3),), labels=(0,))])
    with pytest.raises(SA3DError, match="both object and background"):
        session.add_prompts(
            [
                Prompt(name, points=((3, 3), (9, 9)), labels=(1, 1)),
                Prompt(name.rpartition(".")[0] or name, points=((9, 9), (3, 4)), labels=(0, 1)),
            ]
        )
    with pytest.raises(SA3DError, match=r"words \('mug'\) mark nothing"):
        session.add_prompts([Prompt(name, text="mug")])
    with pytest.raises(SA3DError, match="no object 'mug' here; there are: none"):
        session.remove_object("mug")
    assert not session.result().objects


def test_a_prompt_on_the_sky_says_that_nothing_is_there(analytic: AnalyticScene) -> None:
    everything = np.any([masks[0] for masks in analytic.masks.values()], axis=0)
    sky = ~everything
    if sky.sum() < 20:
        pytest.skip("the analytic scene fills its first view")
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([Prompt(analytic.scene.views[0].name, "sky", mask=sky)])
    with pytest.raises(SA3DError, match="no density"):
        list(session.run())


class _Counting(OracleSegmenter):
    """Oracle that counts how often its encodings are saved."""

    encoded = 0

    def save_state(self) -> Mapping[str, np.ndarray]:
        self.encoded += 1
        return super().save_state()


def half_of(exact: np.ndarray) -> np.ndarray:
    """Return the right half of a mask [H, W]."""
    half = exact.copy()
    half[:, : int(np.nonzero(exact)[1].mean())] = False
    return half


def finished_session(analytic: AnalyticScene, wrong_view: int = 0) -> Session:
    """A ball whose prompted view misses its left half."""
    segmenter = _Counting.__new__(_Counting)
    segmenter.__dict__.update(oracle(analytic).__dict__)
    session = Session(analytic.scene, segmenter)
    half = half_of(analytic.masks["ball"][wrong_view])
    session.add_prompts([Prompt(analytic.scene.views[wrong_view].name, "ball", mask=half)])
    list(session.run())
    return session


def state_of(session: Session) -> list[torch.Tensor]:
    one = session.result().object("ball")
    masks = [record.mask for _, record in sorted(one.views.items())]
    bits = [torch.from_numpy(mask) for mask in masks if mask is not None]
    return [one.evidence.object.clone(), one.evidence.total.clone(), *bits]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for a, b in zip(one, other, strict=True)
    )


def correction(analytic: AnalyticScene, kind: str, view: int) -> Prompt:
    """Return a prompt for the ball in a view: a mask, a box or a click."""
    exact, name = analytic.masks["ball"][view], analytic.scene.views[view].name
    if kind == "mask":
        return prompt(analytic, view=view)
    if kind == "box":
        return Prompt(name, "ball", box=box_of(exact))
    missing, beside = next_click(half_of(exact), exact), next_click(np.ones_like(exact), exact)
    assert missing is not None
    assert beside is not None
    return Prompt(name, "ball", points=(missing[0], beside[0]), labels=(1, 0))


@pytest.mark.parametrize("kind", ["mask", "box", "points"])
def test_a_correction_reuses_everything_but_what_it_asks_again(
    analytic: AnalyticScene, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    session = finished_session(analytic)
    before = mean_iou(analytic, session, "ball")
    rounds = len(session.result().object("ball").rounds)
    segmenter = session.segmenter
    assert isinstance(segmenter, _Counting)
    encoded = segmenter.encoded
    monkeypatch.setattr(type(analytic.field), "render", None)  # the field must not be evaluated
    session.add_prompts([correction(analytic, kind, view=0)])
    events = list(session.run())
    assert segmenter.encoded == encoded
    assert mean_iou(analytic, session, "ball") > max(before, 0.95)
    assert isinstance(events[-1], Finished)
    assert len(session.result().object("ball").rounds) > rounds


def test_a_correction_outweighs_all_other_views_where_it_was_made(analytic: AnalyticScene) -> None:
    session = finished_session(analytic, wrong_view=3)
    nothing_left_of = analytic.masks["ball"][5].copy()
    x = np.nonzero(nothing_left_of)[1]
    nothing_left_of[:, int(x.mean()) :] = False
    name = analytic.scene.views[5].name
    session.add_prompts([Prompt(name, "ball", mask=nothing_left_of)])
    list(session.run())
    mask, _ = final_mask(analytic.scene, session.result(), "ball", 5)
    assert iou(mask, nothing_left_of) > 0.9


class _Bold(_Counting):
    """Segmenter that returns a mask of its own for a box alone, and records later prompts."""

    bold: np.ndarray
    asked: list[bool]

    def predict(self, *prompt, **options):  # type: ignore[no-untyped-def]
        if not options.get("multimask_output"):
            self.asked.append(prompt[3] is not None)  # the fourth is a mask
            if prompt[3] is None:
                nothing = np.zeros((1, 256, 256), np.float32)
                return MaskPrediction(self.bold[None], np.ones(1, np.float32), nothing)
        return super().predict(*prompt, **options)


@pytest.mark.parametrize(("right", "asked"), [(True, [False]), (False, [False, False, True])])
def test_an_answer_much_larger_than_the_mask_needs_the_neighbours_assent(
    analytic: AnalyticScene, monkeypatch: pytest.MonkeyPatch, right: bool, asked: list[bool]
) -> None:
    monkeypatch.setattr("sa3d.loop.correction.MUCH_LARGER", 1.5)
    monkeypatch.setattr("sa3d.voting.user_prompts._DISCS", np.inf)
    first = finished_session(analytic)
    exact = analytic.masks["ball"][0]
    segmenter = _Bold.__new__(_Bold)
    segmenter.__dict__.update(first.segmenter.__dict__)
    session = Session(analytic.scene, segmenter)
    session.resume(first.result())
    segmenter.bold, segmenter.asked = exact if right else np.ones_like(exact), []
    click = correction(analytic, "points", view=0)
    assert session.preview([click]).uncertain  # right or not
    segmenter.asked = []
    session.add_prompts([click])
    list(session.run())
    assert segmenter.asked == asked  # with the earlier mask: for less
    record = session.result().object("ball").views[0]
    assert record.mask is not None
    assert iou(record.mask, exact) > 0.95


def test_only_the_neighbours_of_a_corrected_view_are_asked_while_masks_stay(
    analytic: AnalyticScene,
) -> None:
    session = Session(analytic.scene, oracle(analytic), LoopConfig(neighbours=2))
    session.add_prompts([prompt(analytic)])
    list(session.run())
    session.add_prompts([prompt(analytic, view=7)])  # agrees with all views already
    asked = [e.view for e in session.run() if isinstance(e, ViewDone)]
    assert asked[0] == analytic.scene.views[7].name
    assert len(asked) == 3
    assert "corrected: 2 views asked again, 0" in session.result().object("ball").verdict


def test_undo_and_redo_restore_bit_for_bit(analytic: AnalyticScene) -> None:
    session = finished_session(analytic)
    first = state_of(session)
    session.add_prompts([prompt(analytic, view=0)])
    list(session.run())
    second = state_of(session)
    assert not same(first, second)
    session.add_prompts([prompt(analytic, view=6)])
    list(session.run())
    third = state_of(session)
    assert session.undo()
    assert same(state_of(session), second)
    assert session.undo()
    assert same(state_of(session), first)
    assert session.redo()
    assert session.redo()
    assert same(state_of(session), third)
    assert not session.redo()
    while session.undo():
        pass
    assert not session.result().objects


def test_a_new_action_ends_what_can_be_redone(analytic: AnalyticScene) -> None:
    session = finished_session(analytic)
    session.add_prompts([prompt(analytic, view=0)])
    session.undo()
    session.add_prompts([prompt(analytic, view=4)])
    assert not session.redo()
    assert [p.view for p in session.prompts("ball")] == [
        analytic.scene.views[i].name for i in (0, 4)
    ]


def test_a_prompt_taken_back_leaves_a_view_like_any_other(analytic: AnalyticScene) -> None:
    session = finished_session(analytic)
    session.add_prompts([prompt(analytic, view=6)])
    list(session.run())
    session.remove_prompt("ball", 0)
    list(session.run())
    records = session.result().object("ball").views
    assert records[6].outcome == "prompted"
    assert records[0].outcome in ("accepted", "held out")
    with pytest.raises(SA3DError, match="none at 5"):
        session.remove_prompt("ball", 5)
    session.remove_prompt("ball", 0)
    assert not session.result().objects
    with pytest.raises(SA3DError, match="no object"):
        session.remove_object("ball")


def test_a_saved_segmentation_is_corrected_like_a_live_one(
    analytic: AnalyticScene, tmp_path: Path
) -> None:
    live = finished_session(analytic, wrong_view=3)
    live.add_prompts([prompt(analytic, view=3)])  # half of the ball becomes all of it
    list(live.run())
    save_segmentation(live.result(), tmp_path / "ball")
    reopened = Session(analytic.scene, oracle(analytic))
    reopened.resume(load_segmentation(tmp_path / "ball").segmentation)
    assert same(state_of(live), state_of(reopened))
    for session in (live, reopened):
        session.add_prompts([prompt(analytic, view=9)])
        list(session.run())
    assert same(state_of(live), state_of(reopened))
    one, two = (s.result().object("ball") for s in (live, reopened))
    assert len(one.rounds) == len(two.rounds)
    assert [r.outcome for r in one.views.values()] == [r.outcome for r in two.views.values()]
    with pytest.raises(SA3DError, match="'ball' already: give another name"):
        reopened.resume(live.result())
    with pytest.raises(SA3DError, match="another scene"):
        reopened.resume(replace(live.result(), scene_key="other"))


@pytest.mark.parametrize("events", [0, 1, 9])
def test_what_was_saved_in_the_middle_is_gone_on_with(
    analytic: AnalyticScene, tmp_path: Path, events: int
) -> None:
    """Saved before anything is lifted, after one of two views, and in the first round."""
    session = Session(analytic.scene, oracle(analytic))
    session.add_prompts([prompt(analytic, view=view) for view in (0, 5)])
    run = session.run()
    for _ in range(events):
        next(run)
    if events == 9:
        session.add_prompts([prompt(analytic, view=8)])
    save_segmentation(session.result(), tmp_path / "ball")
    reopened = Session(analytic.scene, oracle(analytic))
    reopened.resume(load_segmentation(tmp_path / "ball").segmentation)
    assert reopened.unfinished
    list(reopened.run())
    records = reopened.result().object("ball").views
    prompted = [i for i, r in records.items() if r.outcome == "prompted"]
    assert sorted(prompted) == ([0, 5, 8] if events == 9 else [0, 5])
    assert mean_iou(analytic, reopened, "ball") > 0.95
    assert not reopened.unfinished


def test_views_held_out_stay_so_when_reopened(analytic: AnalyticScene, tmp_path: Path) -> None:
    """Also a view whose mask was rejected: visited again it may agree, and must not vote."""
    session = Session(analytic.scene, oracle(analytic, OracleErrors(wrong=0.4, seed=2)))
    session.add_prompts([prompt(analytic)])
    list(session.run())
    save_segmentation(session.result(), tmp_path / "ball")
    one = load_segmentation(tmp_path / "ball").segmentation.object("ball")
    assert [one.views[index].outcome for index in one.held_out] == ["rejected"]
    reopened = Session(analytic.scene, oracle(analytic), LoopConfig(neighbours=13))
    reopened.resume(load_segmentation(tmp_path / "ball").segmentation)
    reopened.add_prompts([prompt(analytic, view=6)])
    list(reopened.run())
    records = reopened.result().object("ball").views
    assert {i for i, r in records.items() if r.outcome == "held out"} == one.held_out


class _Beside(OracleSegmenter):
    """Segmenter that finds something beside the clicks."""

    def predict(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        found = super().predict(*args, **kwargs)
        return MaskPrediction(np.roll(found.masks, 20, axis=2), found.scores, found.logits)


def test_an_answer_beside_the_click_is_nothing_found(analytic: AnalyticScene) -> None:
    """In a view in which the object was not seen: its vote would be an empty mask."""
    views, right = analytic.scene.views, oracle(analytic)
    segmenter = _Beside.__new__(_Beside)
    segmenter.__dict__.update(right.__dict__)
    lifted = LoopConfig(convergence=ConvergenceConfig(max_rounds=0))
    session = Session(analytic.scene, segmenter, lifted)
    session.add_prompts([prompt(analytic)])
    list(session.run())
    result = session.result()
    blank = [i for i in range(14) if not final_mask(analytic.scene, result, "ball", i)[0].any()]
    click = next_click(np.zeros_like(analytic.masks["ball"][0]), analytic.masks["ball"][blank[0]])
    assert click is not None
    session.add_prompts([Prompt(views[blank[0]].name, "ball", points=(click[0],), labels=(1,))])
    with pytest.raises(SA3DError, match="finds nothing"):
        list(session.run())
