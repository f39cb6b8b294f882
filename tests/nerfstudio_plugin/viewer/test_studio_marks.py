"""Marks in the panel, on an analytic scene, with a segmenter that knows the answers."""

import numpy as np
import pytest
from studio_driver import StudioDriver, edges_of, mean_iou, oracle_of

from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter
from sa3d.testing.analytic_scene import look_at
from sa3d.testing.oracle_detector import OracleDetector


def test_a_click_is_carried_to_its_photo_and_previewed(driver, ball_at):
    assert driver.state.ready
    notices = driver.click(2, ball_at(2))
    assert notices == []
    (mark,) = driver.state.draft.marks
    assert (mark.view, mark.xy_px, mark.label) == (2, ball_at(2), 1)
    np.testing.assert_allclose(mark.point_world, (0.25, 0.1, -0.1), atol=0.31)  # on the ball
    preview = driver.state.preview
    assert preview.view == "frame_00002.png"
    assert len(preview.scores) == 4  # what is taken, and three to choose from
    distances = np.linalg.norm(preview.points_world - (0.25, 0.1, -0.1), axis=1)
    assert np.median(distances) == pytest.approx(0.3, abs=0.02)
    assert driver.state.undo == "mark"
    assert driver.state.verdicts == {}


def test_a_click_from_a_free_camera_finds_the_same_surface(driver):
    camera = look_at((2.0, 0.7, 0.8), (0.25, 0.1, -0.1), (200, 150))
    driver.studio.click(camera, (100.0, 75.0), 1)
    assert driver.work() == []
    (mark,) = driver.state.draft.marks
    assert np.linalg.norm(np.array(mark.point_world) - (0.25, 0.1, -0.1)) == pytest.approx(
        0.3, abs=0.02
    )


def test_a_box_at_a_photos_camera_keeps_its_corners(driver, still_life):
    box = edges_of(still_life.masks["ball"][1])
    driver.studio.box(driver.camera(1), box)
    assert driver.work() == []
    (mark,) = driver.state.draft.marks
    assert mark.view == 1
    np.testing.assert_allclose(mark.box_px, box, atol=1)
    driver.studio.box(driver.camera(1), (box[0], box[1], box[2] + 1, box[3]))
    driver.work()
    assert len(driver.state.draft.marks) == 1  # another box takes its place


def test_a_box_in_a_free_view_goes_to_the_photo_that_shows_what_is_in_it(still_life, tmp_path):
    driver = StudioDriver(still_life.scene, GraphCutSegmenter(), tmp_path)
    camera = look_at((2.0, 0.9, 0.75), (0.25, 0.1, -0.1), (200, 150))
    driver.studio.box(camera, (62.0, 38.0, 138.0, 112.0))
    assert driver.work() == []
    (mark,) = driver.state.draft.marks
    truth = np.array(edges_of(still_life.masks["ball"][mark.view]))
    np.testing.assert_allclose(mark.box_px, truth, atol=4)


def test_choosing_a_candidate_can_be_undone(driver, ball_at):
    driver.click(0, ball_at(0))
    best = driver.state.preview
    driver.studio.choose_candidate(2)
    assert driver.work() == []
    assert driver.state.draft.candidate == 2
    assert driver.state.preview.scores[0] == pytest.approx(best.scores[3])
    assert len(driver.state.preview.points_world) > len(best.points_world)
    driver.studio.undo()
    driver.work()
    assert driver.state.draft.candidate is None
    assert driver.state.preview.scores == best.scores
    driver.studio.choose_candidate(0)
    driver.segment()
    (prompt,) = driver.studio.session.prompts("object")
    assert prompt.candidate == 0


def test_a_new_mark_resets_the_candidate(driver, ball_at, crate_at):
    driver.click(0, ball_at(0))
    driver.studio.choose_candidate(2)
    driver.click(0, crate_at(0), label=0)
    assert driver.state.draft.candidate is None
    assert [mark.label for mark in driver.state.draft.marks] == [1, 0]


def test_marks_are_cleared_and_that_is_undone(driver, ball_at):
    driver.click(0, ball_at(0))
    marks = driver.state.draft.marks
    driver.studio.clear_marks()
    driver.work()
    assert (driver.state.draft.marks, driver.state.preview) == ((), None)
    driver.studio.undo()
    driver.work()
    assert driver.state.draft.marks == marks
    assert driver.state.preview is not None


def test_words(still_life, tmp_path):
    views = still_life.scene.views
    images = {view.name: view.image() for view in views}
    masks = {view.name: {"the ball": still_life.masks["ball"][i]} for i, view in enumerate(views)}
    driver = StudioDriver(
        still_life.scene,
        oracle_of(still_life),
        tmp_path,
        lambda: OracleDetector(images, masks),
    )
    assert driver.studio.can_find_words
    driver.studio.find_words("the ball")
    assert driver.work() == []
    (mark,) = driver.state.draft.marks
    truth = edges_of(still_life.masks["ball"][mark.view])
    np.testing.assert_allclose(mark.box_px, truth, atol=1)
    assert np.linalg.norm(np.array(mark.point_world) - (0.25, 0.1, -0.1)) < 0.32
    driver.segment()
    assert mean_iou(driver, still_life, "object", "ball") > 0.85
    driver.studio.find_words("  ")
    assert "Type what to look for" in driver.fails()
    driver.studio.find_words("a unicorn")
    assert "unicorn" in driver.fails()


def test_no_words_without_a_detector(driver):
    assert not driver.studio.can_find_words
    driver.studio.find_words("the ball")
    assert "Type what to look for" in driver.fails()
