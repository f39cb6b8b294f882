import numpy as np
import pytest

from sa3d.evaluation.stages import (
    STAGES,
    StageRecorder,
    boundary_f,
    iou,
    mean_iou_over_views,
    object_ious,
    upper_bound,
    view_ious,
)
from sa3d.loop.session import Session
from sa3d.objects.prompts import Prompt
from sa3d.testing.oracle_segmenter import OracleSegmenter


def test_iou_by_hand():
    a, b = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(a & b & ~a, a & ~a) == 1


def square(left, top, side=10, size=30):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_boundary_f_by_hand():
    exact = square(5, 5)
    assert boundary_f(exact, exact, 0) == 1
    assert boundary_f(square(7, 5), exact, 2) == 1
    # Borders of 36 pixels, two columns apart: 8 pixels of the top and 8 of the bottom row meet.
    assert boundary_f(square(7, 5), exact, 0) == pytest.approx(16 / 36)
    # A square of 4 in the corner: 7 of its border's 12 pixels lie on the large one's 36.
    corner = exact & square(5, 5, side=4)
    on_border = int((corner & ~square(6, 6, side=8)).sum())
    assert on_border == 7
    precision, recall = 7 / 12, 7 / 36
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f(corner, exact, 0) == pytest.approx(expected)


def test_boundary_f_without_borders():
    none, full, some = np.zeros((9, 9), bool), np.ones((9, 9), bool), square(2, 2, 3, 9)
    assert boundary_f(none, none, 1) == boundary_f(full, none, 1) == 1
    assert boundary_f(some, none, 1) == boundary_f(none, some, 1) == 0


def test_views_without_the_object_count_only_if_claimed():
    full, none = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    assert view_ious([full, none, full], [full, none, none]) == [1.0, None, 0.0]
    assert mean_iou_over_views([full, none, full], [full, none, none]) == 0.5


def test_upper_bound_is_near_one(still_life):
    exact = {name: list(still_life.masks[name]) for name in ("ball", "crate")}
    bound = object_ious(still_life.scene, upper_bound(still_life.scene, exact), exact)
    assert set(bound) == {"ball", "crate"}
    assert min(bound.values()) > 0.85


def test_recorder_keeps_the_stages_of_one_run(still_life):
    scene, names = still_life.scene, ("ball", "crate")
    exact = {name: list(still_life.masks[name]) for name in names}
    oracle = OracleSegmenter(
        {view.name: view.image() for view in scene.views},
        {v.name: {n: exact[n][i] for n in names} for i, v in enumerate(scene.views)},
    )
    session = Session(scene, oracle)
    for name in names:
        y, x = exact[name][3].nonzero()
        middle = len(x) // 2
        session.add_prompts(
            [Prompt(scene.views[3].name, name, ((int(x[middle]), int(y[middle])),), (1,))]
        )
    recorder = StageRecorder()
    events = list(recorder.watch(session))
    assert events
    scores = [object_ious(scene, recorder.segmentation(session, stage), exact) for stage in STAGES]
    for name in names:
        lifted, first, converged = (score[name] for score in scores)
        assert lifted < first, name
        assert converged >= first - 0.02
    last = recorder.segmentation(session, "converged").objects["ball"].evidence
    assert last.total.equal(session.result().objects["ball"].evidence.total)
