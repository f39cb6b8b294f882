"""Segmenting in the panel that is stopped, interrupted by other commands, or fails."""

from pathlib import Path

import numpy as np
import pytest
from studio_driver import StudioDriver, middle_of, oracle_of

from nerfstudio_plugin.viewer.studio import Studio
from sa3d.base.errors import SA3DError
from sa3d.loop.config import ConvergenceConfig, LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene

SKY = (2.0, 1.0)


# Stopping, going on, and commands meanwhile -------------------------------------------------------


def at_view(driver: StudioDriver, number: int, command) -> None:
    """Give a command when view ``number`` was visited."""
    seen = []

    def on_change(state) -> None:
        if state.last_view and state.last_view not in seen:
            seen.append(state.last_view)
            if len(seen) == number:
                command()

    driver.on_change = on_change


def test_continuing_after_stop_gives_the_result_of_an_uninterrupted_run(
    driver, ball_result, ball_at
):
    driver.click(0, ball_at(0))
    at_view(driver, 5, driver.studio.cancel)
    (notice,) = driver.segment()
    assert notice.title == "Stopped"
    stopped = driver.studio.session.result().object("object")
    assert len(stopped.views) == 5
    assert driver.state.verdicts == {"object": "stopped before the end"}
    assert driver.state.unfinished
    assert driver.shown[-1][0].shares.max() > 0.5
    driver.studio.continue_segmenting()
    (notice,) = driver.work()
    assert notice.title == "object is segmented"
    assert not driver.state.unfinished
    masks = driver.studio.session.result().object("object").views
    for view, record in ball_result.object("object").views.items():
        assert np.array_equal(masks[view].mask, record.mask)


@pytest.fixture
def ball_result(still_life, tmp_path):
    other = StudioDriver(still_life.scene, oracle_of(still_life), tmp_path)
    other.click(0, middle_of(still_life.masks["ball"][0]))
    other.segment()
    return other.studio.session.result()


def test_a_command_given_meanwhile_is_carried_out_between_two_views(driver, ball_at, crate_at):
    views = []

    def command() -> None:
        views.append(len(driver.studio.session.result().object("object").views))
        driver.studio.new_object("crate")
        driver.studio.click(driver.camera(0), crate_at(0), 1)
        driver.studio.segment()

    driver.click(0, ball_at(0))
    at_view(driver, 3, command)
    notices = driver.segment()
    assert views == [3]
    assert {notice.title for notice in notices} == {"object is segmented", "crate is segmented"}
    assert set(driver.state.verdicts) == {"object", "crate"}
    assert not driver.studio.worker.waiting


def test_undo_meanwhile_ends_it(driver, ball_at):
    driver.click(0, ball_at(0))
    at_view(driver, 3, driver.studio.undo)
    assert driver.segment() == []
    assert driver.state.verdicts == {}
    assert len(driver.state.draft.marks) == 1
    assert (driver.state.activity, driver.state.redo) == ("", "segment object")


def test_progress_and_the_image_of_the_view_visited_last(driver, ball_at, monkeypatch):
    monkeypatch.setattr("nerfstudio_plugin.viewer.studio._SHOW_EVERY_S", 0.0)
    states = []
    driver.click(0, ball_at(0))
    driver.on_change = states.append
    driver.segment()
    assert {state.activity for state in states} >= {"", "object: round 1"}
    progress = [state.progress for state in states if state.activity == "object: round 1"]
    assert max(progress) == 1
    assert min(progress) == 0
    assert states[-1].last_view.startswith("frame_")
    assert states[-1].last_view.split(": ")[1].split(",")[0] in ("accepted", "held out")
    assert max(states[-1].last_image.shape) == 300


# Errors in words ----------------------------------------------------------------------------------


def test_before_the_scene_is_prepared(still_life, tmp_path):
    scene, config = still_life.scene, still_life.scene.config
    bare = Scene(still_life.field, scene.views, tmp_path / "cache", config)
    driver = StudioDriver.__new__(StudioDriver)
    prepare = Studio.prepare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Studio, "prepare", lambda self: None)
        driver.__init__(bare, oracle_of(still_life), tmp_path)
    assert not driver.state.ready
    driver.studio.click(driver.camera(0), (24.0, 18.0), 1)
    assert "still being prepared" in driver.fails()
    driver.studio.segment()
    assert "still being prepared" in driver.fails()
    states = []
    driver.on_change = states.append
    prepare(driver.studio)
    assert driver.work() == []
    assert driver.state.ready
    assert {round(state.progress * len(scene.views)) for state in states} == set(range(13))


def test_the_sky_and_no_marks(driver):
    driver.studio.click(driver.camera(0), SKY, 1)
    assert "Nothing solid is visible there" in driver.fails()
    driver.studio.segment()
    assert "Nothing is marked for 'object'" in driver.fails()
    driver.studio.choose_candidate(1)
    assert "Mark something first" in driver.fails()
    driver.studio.box(driver.camera(0), (0.0, 0.0, 3.0, 2.0))
    assert "Nothing solid is visible there" in driver.fails()
    driver.studio.undo()
    assert "nothing to undo" in driver.fails()
    assert driver.state.draft.marks == ()


def test_only_background_marked(driver, ball_at):
    driver.studio.click(driver.camera(0), ball_at(0), 0)
    assert "background" in driver.fails()
    assert driver.state.preview is None
    driver.studio.segment()
    assert "background" in driver.fails()
    assert [mark.label for mark in driver.state.draft.marks] == [0]


class Failing:
    """A segmenter that raises ``error`` when it is set."""

    def __init__(self, segmenter) -> None:
        self._segmenter, self.error = segmenter, None

    def __getattr__(self, name):
        return getattr(self._segmenter, name)

    def predict(self, *args, **kwargs):
        if self.error is not None:
            raise self.error
        return self._segmenter.predict(*args, **kwargs)


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (MemoryError(), "Memory is short"),
        (OSError(28, "No space left"), "A file could not be read or written"),
        (ZeroDivisionError("x"), "A bug in this program"),
    ],
)
def test_a_segmenter_that_fails_leaves_things_as_they_were(
    still_life, tmp_path, ball_at, error, title
):
    segmenter = Failing(oracle_of(still_life))
    driver = StudioDriver(still_life.scene, segmenter, tmp_path)
    driver.click(0, ball_at(0))
    driver.segment()
    driver.click(4, ball_at(4))
    before, draft = driver.studio.session.result(), driver.state.draft
    segmenter.error = error
    assert [notice.title for notice in driver.segment()] == [title]
    driver.session_is(before)
    assert driver.state.draft == draft  # the marks stay, to be tried again
    assert (driver.state.redo, driver.state.activity) == ("", "")
    driver.studio.undo()  # the mark; its preview is not what fails
    driver.work()
    segmenter.error = None
    driver.click(4, ball_at(4))
    assert [notice.kind for notice in driver.segment()] == ["done"]


def test_a_failure_between_views_keeps_what_is_there(still_life, tmp_path, ball_at):
    segmenter = Failing(oracle_of(still_life))
    driver = StudioDriver(still_life.scene, segmenter, tmp_path)
    driver.click(0, ball_at(0))
    at_view(driver, 5, lambda: setattr(segmenter, "error", MemoryError()))
    assert [notice.title for notice in driver.segment()] == ["Memory is short"]
    assert len(driver.studio.session.result().object("object").views) >= 5
    assert driver.state.unfinished
    segmenter.error = None
    driver.studio.continue_segmenting()
    assert [notice.title for notice in driver.work()] == ["object is segmented"]


def test_a_failure_after_continue_does_not_take_other_actions_back(still_life, tmp_path, ball_at):
    segmenter = Failing(oracle_of(still_life))
    driver = StudioDriver(still_life.scene, segmenter, tmp_path)
    driver.click(0, ball_at(0))
    at_view(driver, 2, driver.studio.cancel)
    driver.segment()
    driver.studio.new_object("mug")
    driver.work()
    segmenter.error = MemoryError()
    driver.studio.continue_segmenting()
    assert [notice.title for notice in driver.work()] == ["Memory is short"]
    assert driver.state.draft.selected == "mug"


def test_prompts_that_land_on_nothing_are_taken_back(driver, still_life, monkeypatch, ball_at):
    monkeypatch.setattr(
        "sa3d.objects.inverse_rendering.Evidence.labels", lambda self, lam=1.0: self.total < 0
    )
    driver.click(0, ball_at(0))
    driver.studio.segment()
    assert "lands on nothing" in driver.fails()
    assert len(driver.state.draft.marks) == 1
    assert driver.state.verdicts == {}
    assert driver.state.preview is not None


def test_saving_does_not_change_the_session(ball_driver):
    before = ball_driver.studio.session.result()
    ball_driver.studio.record_saved(Path("elsewhere"))
    assert ball_driver.state.saved
    ball_driver.session_is(before)


def sky(still_life):
    """A prompt on which nothing is found, as one that was stopped before its segmentation."""
    seen = np.any([masks[0] for masks in still_life.masks.values()], axis=0)
    return Prompt(still_life.scene.views[0].name, "sky", mask=~seen)


@pytest.mark.parametrize("rounds", [0, 1])
def test_an_object_that_fails_does_not_take_another_one_back(still_life, tmp_path, ball_at, rounds):
    driver = StudioDriver(still_life.scene, oracle_of(still_life), tmp_path)
    driver.studio.session.config = LoopConfig(convergence=ConvergenceConfig(max_rounds=rounds))
    driver.studio.session.add_prompts([sky(still_life)])
    driver.click(0, ball_at(0))
    notices = driver.segment()
    assert [notice.kind for notice in notices] == ["done", "error"]
    assert "'sky' lands on nothing" in notices[1].text
    assert list(driver.studio.session.result().objects) == ["object"]
    assert driver.state.undo == "segment object"
    assert not driver.state.unfinished


def test_an_object_that_fails_is_taken_back_while_another_goes_on(
    still_life, tmp_path, ball_at, monkeypatch
):
    segmenter = oracle_of(still_life)
    driver = StudioDriver(still_life.scene, segmenter, tmp_path)
    ball = Prompt(still_life.scene.views[0].name, "ball", mask=still_life.masks["ball"][0])
    driver.studio.session.add_prompts([ball])
    driver.click(0, ball_at(0))
    right = ObjectLoop.measure_lifted

    def nothing_of_the_new_one(loop):
        if loop.name == "object":
            raise SA3DError("nothing here")
        right(loop)

    monkeypatch.setattr(ObjectLoop, "measure_lifted", nothing_of_the_new_one)
    notices = driver.segment()
    assert [notice.kind for notice in notices] == ["done", "error"]
    assert list(driver.studio.session.result().objects) == ["ball"]
    assert len(driver.state.draft.marks) == 1  # to be tried again
    assert driver.state.redo == ""
