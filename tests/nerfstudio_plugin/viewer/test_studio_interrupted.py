"""Segmenting in the panel that is stopped, added to meanwhile, or fails."""

from pathlib import Path

import numpy as np
import pytest
from desktop import Desktop, middle_of, oracle_of

from nerfstudio_plugin.viewer.studio import Studio
from sa3d.scene.scene import Scene

SKY = (2.0, 1.0)


# Stopping, going on, and commands meanwhile -------------------------------------------------------


def at_view(desktop: Desktop, number: int, command) -> None:
    """Have a command given when view ``number`` was visited."""
    seen = []

    def on_change(state) -> None:
        if state.last_view and state.last_view not in seen:
            seen.append(state.last_view)
            if len(seen) == number:
                command()

    desktop.on_change = on_change


def test_cancelling_keeps_what_is_there_and_going_on_ends_where_it_would_have(
    desktop, ball_desktop_result, ball_at
):
    desktop.click(0, ball_at(0))
    at_view(desktop, 5, desktop.studio.cancel)
    (told,) = desktop.segment()
    assert told.title == "Stopped"
    stopped = desktop.studio.session.result().object("object")
    assert len(stopped.views) == 5
    assert desktop.state.verdicts == {"object": "stopped before the end"}
    assert desktop.state.unfinished
    assert desktop.shown[-1][0].shares.max() > 0.5
    desktop.studio.go_on()
    (told,) = desktop.work()
    assert told.title == "object is segmented"
    assert not desktop.state.unfinished
    masks = desktop.studio.session.result().object("object").views
    for view, record in ball_desktop_result.object("object").views.items():
        assert np.array_equal(masks[view].mask, record.mask)


@pytest.fixture
def ball_desktop_result(still_life, tmp_path):
    other = Desktop(still_life.scene, oracle_of(still_life), tmp_path)
    other.click(0, middle_of(still_life.masks["ball"][0]))
    other.segment()
    return other.studio.session.result()


def test_a_command_given_meanwhile_is_carried_out_between_two_views(desktop, ball_at, crate_at):
    views = []

    def command() -> None:
        views.append(len(desktop.studio.session.result().object("object").views))
        desktop.studio.new_object("crate")
        desktop.studio.click(desktop.camera(0), crate_at(0), 1)
        desktop.studio.segment()

    desktop.click(0, ball_at(0))
    at_view(desktop, 3, command)
    told = desktop.segment()
    assert views == [3]
    assert {notice.title for notice in told} == {"object is segmented", "crate is segmented"}
    assert set(desktop.state.verdicts) == {"object", "crate"}
    assert not desktop.studio.worker.waiting


def test_undo_meanwhile_ends_it(desktop, ball_at):
    desktop.click(0, ball_at(0))
    at_view(desktop, 3, desktop.studio.undo)
    assert desktop.segment() == []
    assert desktop.state.verdicts == {}
    assert len(desktop.state.desk.marks) == 1
    assert (desktop.state.busy, desktop.state.redo) == ("", "segment object")


def test_progress_and_the_picture_of_the_view_visited_last(desktop, ball_at, monkeypatch):
    monkeypatch.setattr("nerfstudio_plugin.viewer.studio._SHOW_EVERY_S", 0.0)
    states = []
    desktop.click(0, ball_at(0))
    desktop.on_change = states.append
    desktop.segment()
    assert {state.busy for state in states} >= {"", "object: round 1"}
    progress = [state.progress for state in states if state.busy == "object: round 1"]
    assert max(progress) == 1
    assert min(progress) == 0
    assert states[-1].last_view.startswith("frame_")
    assert states[-1].last_view.split(": ")[1].split(",")[0] in ("accepted", "held out")
    assert max(states[-1].last_picture.shape) == 300


# Errors in words ----------------------------------------------------------------------------------


def test_before_the_scene_is_prepared(still_life, tmp_path):
    scene, config = still_life.scene, still_life.scene.config
    bare = Scene(still_life.field, scene.views, tmp_path / "cache", config)
    desktop = Desktop.__new__(Desktop)
    prepare = Studio.prepare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Studio, "prepare", lambda self: None)
        desktop.__init__(bare, oracle_of(still_life), tmp_path)
    assert not desktop.state.ready
    desktop.studio.click(desktop.camera(0), (24.0, 18.0), 1)
    assert "still being prepared" in desktop.fails()
    desktop.studio.segment()
    assert "still being prepared" in desktop.fails()
    states = []
    desktop.on_change = states.append
    prepare(desktop.studio)
    assert desktop.work() == []
    assert desktop.state.ready
    assert {round(state.progress * len(scene.views)) for state in states} == set(range(13))


def test_the_sky_and_no_marks(desktop):
    desktop.studio.click(desktop.camera(0), SKY, 1)
    assert "Nothing solid is visible there" in desktop.fails()
    desktop.studio.segment()
    assert "Nothing is marked for 'object'" in desktop.fails()
    desktop.studio.choose_candidate(1)
    assert "Mark something first" in desktop.fails()
    desktop.studio.box(desktop.camera(0), (0.0, 0.0, 3.0, 2.0))
    assert "Nothing solid is visible there" in desktop.fails()
    desktop.studio.undo()
    assert "nothing to undo" in desktop.fails()
    assert desktop.state.desk.marks == ()


def test_only_background_marked(desktop, ball_at):
    desktop.studio.click(desktop.camera(0), ball_at(0), 0)
    assert "background" in desktop.fails()
    assert desktop.state.preview is None
    desktop.studio.segment()
    assert "background" in desktop.fails()
    assert [mark.label for mark in desktop.state.desk.marks] == [0]


class Failing:
    """A segmenter that fails from now on, if it has to."""

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
    desktop = Desktop(still_life.scene, segmenter, tmp_path)
    desktop.click(0, ball_at(0))
    desktop.segment()
    desktop.click(4, ball_at(4))
    before, desk = desktop.studio.session.result(), desktop.state.desk
    segmenter.error = error
    assert [notice.title for notice in desktop.segment()] == [title]
    desktop.session_is(before)
    assert desktop.state.desk == desk  # the marks stay, to be tried again
    assert (desktop.state.redo, desktop.state.busy) == ("", "")
    desktop.studio.undo()  # the mark; its preview is not what fails
    desktop.work()
    segmenter.error = None
    desktop.click(4, ball_at(4))
    assert [notice.kind for notice in desktop.segment()] == ["done"]


def test_a_failure_between_views_keeps_what_is_there(still_life, tmp_path, ball_at):
    segmenter = Failing(oracle_of(still_life))
    desktop = Desktop(still_life.scene, segmenter, tmp_path)
    desktop.click(0, ball_at(0))
    at_view(desktop, 5, lambda: setattr(segmenter, "error", MemoryError()))
    assert [notice.title for notice in desktop.segment()] == ["Memory is short"]
    assert len(desktop.studio.session.result().object("object").views) >= 5
    assert desktop.state.unfinished
    segmenter.error = None
    desktop.studio.go_on()
    assert [notice.title for notice in desktop.work()] == ["object is segmented"]


def test_a_failure_while_going_on_does_not_take_other_actions_back(still_life, tmp_path, ball_at):
    segmenter = Failing(oracle_of(still_life))
    desktop = Desktop(still_life.scene, segmenter, tmp_path)
    desktop.click(0, ball_at(0))
    at_view(desktop, 2, desktop.studio.cancel)
    desktop.segment()
    desktop.studio.new_object("mug")
    desktop.work()
    segmenter.error = MemoryError()
    desktop.studio.go_on()
    assert [notice.title for notice in desktop.work()] == ["Memory is short"]
    assert desktop.state.desk.selected == "mug"


def test_prompts_that_land_on_nothing_are_stepped_back(desktop, still_life, monkeypatch, ball_at):
    monkeypatch.setattr(
        "sa3d.objects.inverse_rendering.Evidence.labels", lambda self, lam=1.0: self.total < 0
    )
    desktop.click(0, ball_at(0))
    desktop.studio.segment()
    assert "lands on nothing" in desktop.fails()
    assert len(desktop.state.desk.marks) == 1
    assert desktop.state.verdicts == {}
    assert desktop.state.preview is not None


def test_the_folder_of_the_session_is_no_part_of_it(ball_desktop):
    before = ball_desktop.studio.session.result()
    ball_desktop.studio.settle(Path("elsewhere"))
    assert ball_desktop.state.saved
    ball_desktop.session_is(before)
