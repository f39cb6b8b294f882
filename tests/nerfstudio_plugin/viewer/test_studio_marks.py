"""What the panel's marking does, on an analytic scene, with a segmenter that knows the answers."""

import numpy as np
import pytest
from desktop import Desktop, edges_of, mean_iou, oracle_of

from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter
from sa3d.testing.analytic_scene import look_at
from sa3d.testing.oracle_detector import OracleDetector


def test_a_click_is_carried_to_its_photo_and_previewed(desktop, ball_at):
    assert desktop.state.ready
    told = desktop.click(2, ball_at(2))
    assert told == []
    (mark,) = desktop.state.desk.marks
    assert (mark.view, mark.xy_px, mark.label) == (2, ball_at(2), 1)
    np.testing.assert_allclose(mark.point_world, (0.25, 0.1, -0.1), atol=0.31)  # on the ball
    preview = desktop.state.preview
    assert preview.view == "frame_00002.png"
    assert len(preview.scores) == 4  # what is taken, and three to choose from
    distances = np.linalg.norm(preview.points_world - (0.25, 0.1, -0.1), axis=1)
    assert np.median(distances) == pytest.approx(0.3, abs=0.02)
    assert desktop.state.undo == "mark"
    assert desktop.state.verdicts == {}


def test_a_click_from_a_free_camera_finds_the_same_surface(desktop):
    camera = look_at((2.0, 0.7, 0.8), (0.25, 0.1, -0.1), (200, 150))
    desktop.studio.click(camera, (100.0, 75.0), 1)
    assert desktop.work() == []
    (mark,) = desktop.state.desk.marks
    assert np.linalg.norm(np.array(mark.point_world) - (0.25, 0.1, -0.1)) == pytest.approx(
        0.3, abs=0.02
    )


def test_a_box_at_a_photos_place_is_that_box(desktop, still_life):
    box = edges_of(still_life.masks["ball"][1])
    desktop.studio.box(desktop.camera(1), box)
    assert desktop.work() == []
    (mark,) = desktop.state.desk.marks
    assert mark.view == 1
    np.testing.assert_allclose(mark.box_px, box, atol=1)
    desktop.studio.box(desktop.camera(1), (box[0], box[1], box[2] + 1, box[3]))
    desktop.work()
    assert len(desktop.state.desk.marks) == 1  # another box takes its place


def test_a_box_in_a_free_view_goes_to_the_photo_that_shows_what_is_in_it(still_life, tmp_path):
    desktop = Desktop(still_life.scene, GraphCutSegmenter(), tmp_path)
    camera = look_at((2.0, 0.9, 0.75), (0.25, 0.1, -0.1), (200, 150))
    desktop.studio.box(camera, (62.0, 38.0, 138.0, 112.0))
    assert desktop.work() == []
    (mark,) = desktop.state.desk.marks
    truth = np.array(edges_of(still_life.masks["ball"][mark.view]))
    np.testing.assert_allclose(mark.box_px, truth, atol=4)


def test_candidates_are_chosen_and_unchosen(desktop, ball_at):
    desktop.click(0, ball_at(0))
    best = desktop.state.preview
    desktop.studio.choose_candidate(2)
    assert desktop.work() == []
    assert desktop.state.desk.candidate == 2
    assert desktop.state.preview.scores[0] == pytest.approx(best.scores[3])
    assert len(desktop.state.preview.points_world) > len(best.points_world)
    desktop.studio.undo()
    desktop.work()
    assert desktop.state.desk.candidate is None
    assert desktop.state.preview.scores == best.scores
    desktop.studio.choose_candidate(0)
    desktop.segment()
    (prompt,) = desktop.studio.session.prompts("object")
    assert prompt.candidate == 0


def test_a_new_mark_is_another_question(desktop, ball_at, crate_at):
    desktop.click(0, ball_at(0))
    desktop.studio.choose_candidate(2)
    desktop.click(0, crate_at(0), label=0)
    assert desktop.state.desk.candidate is None
    assert [mark.label for mark in desktop.state.desk.marks] == [1, 0]


def test_marks_are_cleared_and_that_is_undone(desktop, ball_at):
    desktop.click(0, ball_at(0))
    marks = desktop.state.desk.marks
    desktop.studio.clear_marks()
    desktop.work()
    assert (desktop.state.desk.marks, desktop.state.preview) == ((), None)
    desktop.studio.undo()
    desktop.work()
    assert desktop.state.desk.marks == marks
    assert desktop.state.preview is not None


def test_words(still_life, tmp_path):
    views = still_life.scene.views
    images = {view.name: view.image() for view in views}
    masks = {view.name: {"the ball": still_life.masks["ball"][i]} for i, view in enumerate(views)}
    desktop = Desktop(
        still_life.scene,
        oracle_of(still_life),
        tmp_path,
        lambda: OracleDetector(images, masks),
    )
    assert desktop.studio.knows_words
    desktop.studio.find("the ball")
    assert desktop.work() == []
    (mark,) = desktop.state.desk.marks
    truth = edges_of(still_life.masks["ball"][mark.view])
    np.testing.assert_allclose(mark.box_px, truth, atol=1)
    assert np.linalg.norm(np.array(mark.point_world) - (0.25, 0.1, -0.1)) < 0.32
    desktop.segment()
    assert mean_iou(desktop, still_life, "object", "ball") > 0.85
    desktop.studio.find("  ")
    assert "Type what to look for" in desktop.fails()
    desktop.studio.find("a unicorn")
    assert "unicorn" in desktop.fails()


def test_no_words_without_a_detector(desktop):
    assert not desktop.studio.knows_words
    desktop.studio.find("the ball")
    assert "Type what to look for" in desktop.fails()
