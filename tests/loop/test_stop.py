"""The loop stops, says why, and judges its views by others, whatever the segmenter does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from sa3d.loop.config import ConvergenceConfig, LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.rounds import segment_object
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.events import Finished, Outcome, RoundDone
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation, ViewRecord, held_out_agreement
from sa3d.segmenters.protocol import MaskPrediction
from sa3d.testing.analytic_scene import (
    AnalyticScene,
    analytic_scene,
    look_at,
    spiral_camera,
)
from sa3d.testing.erring_runs import ErringRun, erring_run
from sa3d.testing.oracle_segmenter import OracleSegmenter


class _TwoMinds(OracleSegmenter):
    """Finds the object whole in every other round, and without its lower half in between."""

    visits = 0
    per_round = 11

    def predict(self, *args: Any, **kwargs: Any) -> MaskPrediction:
        found = super().predict(*args, **kwargs)
        odd = self.visits // self.per_round % 2
        self.visits += 1
        masks = found.masks.copy()
        for mask in masks:
            rows = np.flatnonzero(mask.any(axis=1))
            if odd and len(rows):
                mask[rows[len(rows) // 2] :] = False
        return MaskPrediction(masks, found.scores, found.logits)


def loop_of(
    still_life: AnalyticScene, config: LoopConfig, kind: type[OracleSegmenter] = OracleSegmenter
) -> ObjectLoop:
    views, masks = still_life.scene.views, still_life.masks
    known: Mapping[str, Mapping[str, np.ndarray]] = {
        view.name: {name: stack[i] for name, stack in masks.items()} for i, view in enumerate(views)
    }
    segmenter = kind({view.name: view.image() for view in views}, known)
    prompt = Prompt(views[0].name, "ball", mask=masks["ball"][0])
    return ObjectLoop(still_life.scene, segmenter, "ball", [prompt], config)


def test_a_loop_that_goes_in_a_circle_is_stopped_and_says_so(still_life: AnalyticScene) -> None:
    limits = ConvergenceConfig(max_rounds=9, min_best_agreement=0.0, min_prompt_agreement=0.0)
    config = LoopConfig(inertia=-2.0, held_out=0.0, min_agreement=0.0, convergence=limits)
    loop = loop_of(still_life, config, _TwoMinds)
    events = list(segment_object(loop))
    rounds = [event for event in events if isinstance(event, RoundDone)]
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.cycle == 2
    assert not last.converged
    assert len(rounds) < 9
    assert "going in a circle of 2 rounds" in last.verdict
    trusts = [(r.agreement + r.prompt_agreement) / 2 for r in rounds]
    assert trusts[last.chosen_round - 1] >= max(trusts) - 0.005
    assert loop.result().cycle == 2


class _Learning(_TwoMinds):
    """Its samples are the masks themselves."""

    shown: np.ndarray | None = None

    def sample_appearance(self, mask: np.ndarray) -> np.ndarray:
        return mask.copy()

    def set_appearance(self, samples: np.ndarray | None) -> None:
        self.shown = samples


def test_the_appearance_is_that_of_the_round_that_was_kept(still_life: AnalyticScene) -> None:
    limits = ConvergenceConfig(max_rounds=2, min_best_agreement=0.0, min_prompt_agreement=0.0)
    config = LoopConfig(
        inertia=-2.0, held_out=0.0, min_agreement=0.0, appearance_views=99, convergence=limits
    )
    loop = loop_of(still_life, config, _Learning)
    *_, last = segment_object(loop)
    assert isinstance(last, Finished)
    assert last.chosen_round == 1
    loop.encode(0)
    segmenter = loop.segmenter
    assert isinstance(segmenter, _Learning)
    assert segmenter.shown is not None
    shown = sorted(int(sample.sum()) for sample in segmenter.shown)
    voted = [index for index in loop.state.votes if index != 0]
    masks = [loop.state.records[index].mask for index in voted]
    assert shown == sorted(int(mask.sum()) for mask in masks if mask is not None)


def test_an_object_cut_off_by_the_prompted_picture_is_told_of(tmp_path: Path) -> None:
    size = (48, 36)
    aside = look_at((2.4, 0.0, 0.3), (0.0, 1.5, -0.15), size, 0)  # half of the ball is cut off
    cameras = [aside, *(spiral_camera(i, 12, size) for i in range(1, 12))]
    cut_off = analytic_scene(tmp_path, cameras=cameras, size=size)
    loop = loop_of(cut_off, LoopConfig())
    *_, last = segment_object(loop)
    assert isinstance(last, Finished)
    share = loop.state.share_unframed()
    assert 0.2 < share < 0.8
    assert f"{share:.0%} of it lies outside the pictures it was marked in" in last.verdict


def test_an_object_whole_in_the_picture_has_nothing_outside(still_life: AnalyticScene) -> None:
    loop = loop_of(still_life, LoopConfig())
    *_, last = segment_object(loop)
    assert loop.state.share_unframed() == 0
    assert isinstance(last, Finished)
    assert "outside" not in last.verdict


def test_folds_judge_every_view_and_change_nothing_else(still_life: AnalyticScene) -> None:
    plain, folded = (loop_of(still_life, LoopConfig(folds=folds)) for folds in (0, 4))
    for loop in (plain, folded):
        list(segment_object(loop))
    one, other = plain.result(), folded.result()
    assert torch.equal(one.evidence.object, other.evidence.object)
    assert torch.equal(one.evidence.total, other.evidence.total)
    assert all(record.fold_agreement is None for record in one.views.values())
    judged = [record.fold_agreement for record in other.views.values()]
    assert len(judged) == 12
    assert all(value is not None and value > 0.7 for value in judged)
    for result in (one, other):
        assert f"held-out agreement {result.held_out_agreement:.2f}" in result.verdict


def test_folds_of_votes_that_were_changed_since_are_forgotten(still_life: AnalyticScene) -> None:
    folded, plain = (loop_of(still_life, LoopConfig(folds=folds)) for folds in (4, 0))
    list(segment_object(folded))
    plain.resume(folded.result())
    assert all(record.fold_agreement is not None for record in plain.state.records.values())
    plain.finish(True, 1, "corrected")
    assert all(record.fold_agreement is None for record in plain.state.records.values())


def record_of(outcome: Outcome, agreement: float, fold: float | None = None) -> ViewRecord:
    return ViewRecord(outcome, agreement, 0.9, 1.0, None, fold_agreement=fold)


def test_held_out_agreement_is_what_three_quarters_of_believed_views_reach() -> None:
    views = [
        record_of("prompted", 1.0),
        record_of("accepted", 0.95),
        record_of("accepted", 0.9),
        record_of("accepted", 0.85),
        record_of("accepted", 0.4),
        record_of("held out", 0.8),
        record_of("rejected", 0.1),
        record_of("unseen", 0.0),
    ]
    assert held_out_agreement(dict(enumerate(views))) == pytest.approx(0.8)
    assert held_out_agreement({0: views[0], 6: views[6]}) is None


def test_held_out_agreement_is_that_of_folds_where_asked_for() -> None:
    views = [
        record_of("prompted", 1.0, 0.7),
        record_of("accepted", 0.9, 0.8),
        record_of("accepted", 0.9, 0.85),
        record_of("accepted", 0.9, 0.95),
        record_of("held out", 0.9, 0.9),
        record_of("rejected", 0.9, 0.1),
    ]
    assert held_out_agreement(dict(enumerate(views))) == pytest.approx(0.8)


def test_a_view_that_is_alone_is_not_judged(still_life: AnalyticScene) -> None:
    limits = ConvergenceConfig(max_rounds=0)
    loop = loop_of(still_life, LoopConfig(folds=4, convergence=limits))
    list(segment_object(loop))
    assert loop.result().held_out_agreement is None
    assert loop.result().verdict == "lifted from the prompted views alone"


def test_a_view_that_is_wrong_is_named(still_life: AnalyticScene) -> None:
    loop = loop_of(still_life, LoopConfig(folds=4))
    list(segment_object(loop))
    record = loop.state.records[5]
    assert record.mask is not None
    record.mask[:, : int(np.nonzero(record.mask)[1].mean())] = False
    assert loop.state.finished is not None
    assert "disagree" not in loop.state.finished.verdict
    said = loop.finish(True, 2, "done").verdict
    assert said.startswith("done; held-out agreement 0.9")
    assert said.endswith(f"; view {still_life.scene.views[5].name} disagrees: look at it")


def test_a_saved_report_is_whole_and_version_1_opens(
    still_life: AnalyticScene, tmp_path: Path
) -> None:
    loop = loop_of(still_life, LoopConfig(folds=3))
    list(segment_object(loop))
    one, scene = loop.result(), still_life.scene
    whole = Segmentation(scene.key, scene.elements, {"ball": one}, 0.5, 0.05)
    save_segmentation(whole, tmp_path / "new")
    again = load_segmentation(tmp_path / "new").segmentation.object("ball")
    assert (again.kept_round, again.cycle) == (one.kept_round, 0)
    assert again.held_out_agreement == one.held_out_agreement
    assert again.views[3].reason == one.views[3].reason != ""
    assert again.views[3].fold_agreement == one.views[3].fold_agreement
    manifest = json.loads((tmp_path / "new/segmentation.json").read_text())
    manifest["version"] = 1
    [saved] = manifest["objects"]
    del saved["kept_round"], saved["cycle"]
    for view in saved["views"]:
        del view["reason"], view["fold_agreement"]
    (tmp_path / "new/segmentation.json").write_text(json.dumps(manifest))
    old = load_segmentation(tmp_path / "new").segmentation.object("ball")
    assert old.verdict == one.verdict
    assert old.views[3].reason == ""


def test_half_wrong_masks_in_some_views_do_not_bring_the_lifted_view_back(tmp_path: Path) -> None:
    run = erring_run(tmp_path, 75)
    assert (run.kind, round(run.rate, 2)) == ("missing", 0.31)
    one = run.segmentation.object(run.name)
    last = one.rounds[-1]
    assert (last.agreement + last.prompt_agreement) / 2 < 0.875  # parts missing in a third
    assert last.best_agreement > 0.98
    assert one.kept_round > 0
    assert run.iou() > 0.9


@pytest.fixture(scope="module")
def erring_runs(tmp_path_factory: pytest.TempPathFactory) -> list[ErringRun]:
    """Three runs for each kind of error."""
    return [erring_run(tmp_path_factory.mktemp("erring"), seed) for seed in range(24)]


def test_generated_runs_end_with_a_verdict(erring_runs: list[ErringRun]) -> None:
    for run in erring_runs:
        one = run.segmentation.object(run.name)
        assert 1 <= len(one.rounds) <= 6
        assert one.converged or one.cycle or len(one.rounds) == 6
        assert "converged" in one.verdict or "stopped" in one.verdict
        assert all(record.reason for record in one.views.values())


def test_held_out_agreement_foretells_the_true_iou(erring_runs: list[ErringRun]) -> None:
    told = [run.segmentation.object(run.name).held_out_agreement for run in erring_runs]
    kept = [(agreed, run.iou()) for agreed, run in zip(told, erring_runs, strict=True) if agreed]
    assert len(kept) > 20  # the others kept their lifted view
    assert spearmanr(kept).statistic > 0.7
