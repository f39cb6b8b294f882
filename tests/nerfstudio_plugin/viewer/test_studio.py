"""What the panel's buttons do, on an analytic scene, with a segmenter that knows the answers."""

from pathlib import Path

import numpy as np
import pytest
from desktop import Desktop, edges_of, middle_of, oracle_of

from nerfstudio_plugin.display import Display
from nerfstudio_plugin.viewer.studio import Studio
from sa3d.evaluation import mean_iou_over_views
from sa3d.final_masks import final_mask
from sa3d.scene import Scene
from sa3d.segmenters.graphcut import GraphCutSegmenter
from sa3d.testing.analytic_scene import look_at
from sa3d.testing.oracle_detector import OracleDetector

SKY = (2.0, 1.0)


@pytest.fixture
def ball_at(still_life):
    """The middle of the ball in a view."""
    return lambda view: middle_of(still_life.masks["ball"][view])


@pytest.fixture
def crate_at(still_life):
    return lambda view: middle_of(still_life.masks["crate"][view])


def mean_iou(desktop: Desktop, still_life, name: str, truth: str) -> float:
    result, scene = desktop.studio.session.result(), desktop.scene
    masks = [final_mask(scene, result, name, i)[0] for i in range(len(scene.views))]
    return mean_iou_over_views(masks, list(still_life.masks[truth]))


# Marking ------------------------------------------------------------------------------------------


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


# Segmenting and correcting ------------------------------------------------------------------------


def test_a_click_becomes_an_object_in_3d(ball_desktop, still_life, ball_at):
    desktop = ball_desktop
    assert mean_iou(desktop, still_life, "object", "ball") > 0.85
    state = desktop.state
    assert (state.desk.marks, state.preview, state.busy, state.progress) == ((), None, "", 0)
    assert state.prompts == {"object": ("frame_00000.png: 1 click",)}
    assert "after 1 round" in state.verdicts["object"]
    assert state.undo == "segment object"
    assert not state.saved
    objects, display = desktop.shown[-1]
    assert objects.names == ["object"]
    assert objects.blocks["object"] == "built"  # cut out, not only tinted
    assert display.colours == state.desk.colours


def test_a_correction_goes_on_from_what_is_there(ball_desktop, still_life, ball_at, crate_at):
    desktop = ball_desktop
    before = desktop.studio.session.result()
    desktop.click(4, ball_at(4))
    desktop.click(4, crate_at(4), label=0)
    assert desktop.state.desk.marks[-1].label == 0
    (told,) = desktop.segment()
    assert told.kind == "done"
    after = desktop.studio.session.result()
    assert desktop.state.prompts["object"][1] == "frame_00004.png: 1 click, 1 beside it"
    assert after.object("object").views[4].outcome == "prompted"
    assert after.object("object").rounds[0] == before.object("object").rounds[0]
    assert mean_iou(desktop, still_life, "object", "ball") > 0.85


def test_undo_and_redo_bring_the_session_back_bit_for_bit(ball_desktop, ball_at, crate_at):
    desktop = ball_desktop
    studio = desktop.studio
    first, desk = studio.session.result(), desktop.state.desk
    desktop.click(4, ball_at(4))
    desktop.click(4, crate_at(4), label=0)
    desktop.segment()
    corrected = studio.session.result()
    studio.undo()
    desktop.work()
    desktop.session_is(first)
    assert len(desktop.state.desk.marks) == 2  # back on the desk, to be changed
    assert desktop.state.redo == "segment object"
    for _ in range(2):
        studio.undo()
    desktop.work()
    assert desktop.state.desk == desk
    for _ in range(3):
        studio.redo()
    desktop.work()
    desktop.session_is(corrected)
    assert desktop.state.redo == ""
    studio.redo()
    assert "nothing to undo or redo" in desktop.fails()


def test_after_undo_the_object_that_is_cut_out_is_the_one_before(ball_desktop, crate_at):
    desktop = ball_desktop
    shown, _ = desktop.shown[-1]
    desktop.click(4, crate_at(4))
    desktop.studio.segment()
    desktop.work()
    changed, _ = desktop.shown[-1]
    assert not changed.built["object"].equal(shown.built["object"])
    desktop.studio.undo()
    desktop.work()
    again, _ = desktop.shown[-1]
    assert again.built["object"].equal(shown.built["object"])


def test_a_prompt_taken_back_undoes_what_it_did(ball_desktop, ball_at):
    desktop = ball_desktop
    desktop.click(4, ball_at(4))
    desktop.segment()
    desktop.studio.remove_prompt("object", 1)
    (told,) = desktop.work()
    assert told.kind == "done"
    assert desktop.state.prompts["object"] == ("frame_00000.png: 1 click",)
    assert desktop.studio.session.result().object("object").views[4].outcome != "prompted"
    desktop.studio.remove_prompt("object", 7)
    assert "has 1 prompts, none at 7" in desktop.fails()
    desktop.studio.remove_prompt("object", 0)
    desktop.work()
    assert desktop.state.verdicts == {}
    assert list(desktop.state.desk.colours) == ["object"]


# Several objects ----------------------------------------------------------------------------------


@pytest.fixture
def two(ball_desktop, crate_at):
    """The ball is "object", the crate "crate"."""
    ball_desktop.studio.new_object("crate")
    ball_desktop.work()
    ball_desktop.click(3, crate_at(3))
    ball_desktop.segment()
    return ball_desktop


def test_each_object_has_a_name_a_colour_and_its_own_marks(two, still_life, crate_at):
    state = two.state
    assert list(state.verdicts) == ["object", "crate"]
    assert len(set(state.desk.colours.values())) == 2
    assert state.desk.selected == "crate"
    assert mean_iou(two, still_life, "crate", "crate") > 0.8
    two.click(5, crate_at(5))
    two.studio.select("object")
    two.work()
    assert (two.state.desk.selected, two.state.desk.marks) == ("object", ())
    two.studio.undo()
    two.work()
    assert (two.state.desk.selected, len(two.state.desk.marks)) == ("crate", 1)


def test_names_are_checked(two):
    for name, message in (("crate", "already"), ("a/b", "a/b"), ("", "name")):
        two.studio.new_object(name)
        assert message in two.fails()
        two.studio.rename_object("object", name)
        assert message in two.fails()
    two.studio.select("mug")
    assert "no object 'mug' here; there are: object, crate" in two.fails().lower()
    assert list(two.state.desk.colours) == ["object", "crate"]


def test_an_object_is_forgotten_and_brought_back(two):
    before, desk = two.studio.session.result(), two.state.desk
    two.studio.remove_object("object")
    two.work()
    assert list(two.state.desk.colours) == list(two.state.verdicts) == ["crate"]
    two.studio.new_object("third")
    two.work()
    assert len(set(two.state.desk.colours.values())) == 2  # the colour that became free
    for _ in range(2):
        two.studio.undo()
    two.work()
    two.session_is(before)
    assert two.state.desk == desk


def test_the_last_object_forgotten_leaves_an_empty_one(ball_desktop):
    ball_desktop.studio.rename_object("object", "ball")
    ball_desktop.studio.remove_object("ball")
    ball_desktop.work()
    assert list(ball_desktop.state.desk.colours) == ["object"]
    assert ball_desktop.state.desk.selected == "object"
    assert ball_desktop.shown[-1][0] is None


def test_rename(two, crate_at):
    before = two.studio.session.result()
    two.click(5, crate_at(5))
    two.studio.rename_object("crate", "box")
    assert two.work() == []
    assert list(two.state.desk.colours) == list(two.state.verdicts) == ["object", "box"]
    assert (two.state.desk.selected, len(two.state.desk.marks)) == ("box", 1)
    two.studio.undo()
    two.work()
    two.session_is(before)
    assert two.state.desk.selected == "crate"
    two.studio.new_object("empty")
    two.studio.rename_object("empty", "cup")
    assert two.work() == []
    assert two.state.desk.selected == "cup"


def test_merge(two, still_life):
    before, colours = two.studio.session.result(), two.state.desk.colours
    two.studio.merge_objects(["object", "crate"], "both")
    assert two.work() == []
    assert two.state.desk.colours == {"both": colours["object"]}
    assert list(two.state.verdicts) == ["both"]
    masks = still_life.masks["ball"] | still_life.masks["crate"]
    scene, result = two.scene, two.studio.session.result()
    found = [final_mask(scene, result, "both", i)[0] for i in range(len(scene.views))]
    assert mean_iou_over_views(found, list(masks)) > 0.8
    assert two.shown[-1][0].blocks["both"] == "built"
    two.studio.undo()
    two.work()
    two.session_is(before)
    two.studio.merge_objects(["object", "mug"], "both")
    assert "no object 'mug'" in two.fails().lower()
    two.studio.merge_objects(["object"], "both")
    assert "two objects or more" in two.fails()


def test_split(two, still_life, crate_at):
    two.studio.merge_objects(["object", "crate"], "object")
    two.studio.split("lid")
    assert "Mark the part of 'object'" in two.fails()
    before = two.studio.session.result()
    two.studio.box(two.camera(3), edges_of(still_life.masks["crate"][3]))
    two.work()
    two.studio.split("lid")
    assert {notice.kind for notice in two.work()} == {"done"}
    assert list(two.state.verdicts) == ["object", "lid"]
    assert two.state.desk.selected == "lid"
    assert len(set(two.state.desk.colours.values())) == 2
    assert mean_iou(two, still_life, "lid", "crate") > 0.7
    assert mean_iou(two, still_life, "object", "ball") > 0.7
    two.studio.undo()
    two.work()
    two.session_is(before)
    assert len(two.state.desk.marks) == 1


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
    monkeypatch.setattr("nerfstudio_plugin.viewer.studio_work._SHOW_EVERY_S", 0.0)
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


# What is shown ------------------------------------------------------------------------------------


def test_display_and_threshold_run_nothing(ball_desktop):
    desktop, shown = ball_desktop, len(ball_desktop.shown)
    before = desktop.studio.session.result()
    desktop.studio.display(Display(mode="outline", threshold=0.8), True)
    assert not desktop.studio.worker.waiting
    objects, display = desktop.shown[-1]
    assert len(desktop.shown) == shown + 1
    assert objects is desktop.shown[-2][0]
    assert (display.mode, display.threshold, display.objects) == ("outline", 0.8, ("object",))
    desktop.session_is(before)
    desktop.studio.display(Display(), False)
    assert desktop.shown[-1][1].objects == ()


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
        "sa3d.inverse_rendering.Evidence.labels", lambda self, lam=1.0: self.total < 0
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
