"""The panel's commands, on an analytic scene, with a segmenter that knows the answers."""

from studio_driver import edges_of, mean_iou

from nerfstudio_plugin.display.settings import Display
from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.results.final_masks import final_mask

# Segmenting and correcting ------------------------------------------------------------------------


def test_a_click_becomes_an_object_in_3d(ball_driver, still_life, ball_at):
    driver = ball_driver
    assert mean_iou(driver, still_life, "object", "ball") > 0.85
    state = driver.state
    assert (state.draft.marks, state.preview, state.activity, state.progress) == ((), None, "", 0)
    assert state.prompts == {"object": ("frame_00000.png: 1 click",)}
    assert "after 1 round" in state.verdicts["object"]
    assert state.undo == "segment object"
    assert not state.saved
    objects, _ = driver.shown[-1]
    assert objects.names == ["object"]
    assert objects.blocks["object"] == "built"  # cut out, not only tinted
    assert objects.colors == state.colors


def test_a_correction_keeps_the_earlier_rounds(ball_driver, still_life, ball_at, crate_at):
    driver = ball_driver
    before = driver.studio.session.result()
    driver.click(4, ball_at(4))
    driver.click(4, crate_at(4), label=0)
    assert driver.state.draft.marks[-1].label == 0
    (notice,) = driver.segment()
    assert notice.kind == "done"
    after = driver.studio.session.result()
    assert driver.state.prompts["object"][1] == "frame_00004.png: 1 click, 1 beside it"
    assert after.object("object").views[4].outcome == "prompted"
    assert after.object("object").rounds[0] == before.object("object").rounds[0]
    assert mean_iou(driver, still_life, "object", "ball") > 0.85


def test_undo_and_redo_bring_the_session_back_bit_for_bit(ball_driver, ball_at, crate_at):
    driver = ball_driver
    studio = driver.studio
    first, draft = studio.session.result(), driver.state.draft
    driver.click(4, ball_at(4))
    driver.click(4, crate_at(4), label=0)
    driver.segment()
    corrected = studio.session.result()
    studio.undo()
    driver.work()
    driver.session_is(first)
    assert len(driver.state.draft.marks) == 2  # drafted again, to be changed
    assert driver.state.redo == "segment object"
    for _ in range(2):
        studio.undo()
    driver.work()
    assert driver.state.draft == draft
    for _ in range(3):
        studio.redo()
    driver.work()
    driver.session_is(corrected)
    assert driver.state.redo == ""
    studio.redo()
    assert "nothing to undo or redo" in driver.fails()


def test_session_and_draft_have_one_history(ball_driver, ball_at):
    driver, history = ball_driver, ball_driver.studio.session.history
    assert history.last.label == "segment object"
    driver.click(4, ball_at(4))
    assert history.last.label == "mark"
    driver.studio.undo()
    driver.work()
    assert (history.last.label, history.next.label) == ("segment object", "mark")


def test_after_undo_the_object_that_is_cut_out_is_the_one_before(ball_driver, crate_at):
    driver = ball_driver
    shown, _ = driver.shown[-1]
    driver.click(4, crate_at(4))
    driver.studio.segment()
    driver.work()
    changed, _ = driver.shown[-1]
    assert not changed.built["object"].equal(shown.built["object"])
    driver.studio.undo()
    driver.work()
    again, _ = driver.shown[-1]
    assert again.built["object"].equal(shown.built["object"])


def test_deleting_a_prompt_reverses_its_effect(ball_driver, ball_at):
    driver = ball_driver
    driver.click(4, ball_at(4))
    driver.segment()
    driver.studio.remove_prompt("object", 1)
    (notice,) = driver.work()
    assert notice.kind == "done"
    assert driver.state.prompts["object"] == ("frame_00000.png: 1 click",)
    assert driver.studio.session.result().object("object").views[4].outcome != "prompted"
    driver.studio.remove_prompt("object", 7)
    assert "has 1 prompts, none at 7" in driver.fails()
    driver.studio.remove_prompt("object", 0)
    driver.work()
    assert driver.state.verdicts == {}
    assert list(driver.state.colors) == ["object"]


# Several objects ----------------------------------------------------------------------------------


def test_each_object_has_a_name_a_color_and_its_own_marks(two, still_life, crate_at):
    state = two.state
    assert list(state.verdicts) == ["object", "crate"]
    assert len(set(state.colors.values())) == 2
    assert state.draft.selected == "crate"
    assert mean_iou(two, still_life, "crate", "crate") > 0.8
    two.click(5, crate_at(5))
    two.studio.select("object")
    two.work()
    assert (two.state.draft.selected, two.state.draft.marks) == ("object", ())
    two.studio.undo()
    two.work()
    assert (two.state.draft.selected, len(two.state.draft.marks)) == ("crate", 1)


def test_a_color_is_shown_undone_and_redone(two):
    before, shown = two.studio.session.result(), two.shown[-1][0]
    two.studio.set_color("object", (1, 2, 3))
    two.studio.new_object("mug")
    two.studio.set_color("mug", (4, 5, 6))
    two.work()
    painted = {"object": (1, 2, 3), "crate": two.state.colors["crate"], "mug": (4, 5, 6)}
    assert two.state.colors == painted
    assert two.shown[-1][0].palette([0, 1]) == [(1, 2, 3), painted["crate"]]
    assert two.shown[-1][0].blocks == shown.blocks
    assert two.studio.session.result().colors == {n: painted[n] for n in ("object", "crate")}
    for _ in range(3):
        two.studio.undo()
    two.work()
    two.session_is(before)
    assert two.state.colors == before.colors == shown.colors
    for _ in range(3):
        two.studio.redo()
    two.work()
    assert two.state.colors == painted


def test_what_is_segmented_keeps_the_color_it_was_given_before(driver, ball_at):
    driver.studio.set_color("object", (1, 2, 3))
    driver.work()
    driver.click(0, ball_at(0))
    driver.segment()
    assert driver.state.draft.empty == {}
    assert driver.studio.session.result().colors == {"object": (1, 2, 3)}
    driver.studio.remove_prompt("object", 0)
    driver.work()
    assert driver.state.draft.empty == {"object": (1, 2, 3)}


def test_names_are_checked(two):
    for name, message in (("crate", "already"), ("a/b", "a/b"), ("", "name")):
        two.studio.new_object(name)
        assert message in two.fails()
        two.studio.rename_object("object", name)
        assert message in two.fails()
    two.studio.select("mug")
    assert "no object 'mug' here; there are: object, crate" in two.fails().lower()
    assert list(two.state.colors) == ["object", "crate"]


def test_undo_brings_a_deleted_object_back(two):
    before, draft = two.studio.session.result(), two.state.draft
    two.studio.remove_object("object")
    two.work()
    assert list(two.state.colors) == list(two.state.verdicts) == ["crate"]
    two.studio.new_object("third")
    two.work()
    assert len(set(two.state.colors.values())) == 2  # the color that became free
    for _ in range(2):
        two.studio.undo()
    two.work()
    two.session_is(before)
    assert two.state.draft == draft


def test_deleting_the_last_object_leaves_an_empty_one(ball_driver):
    ball_driver.studio.rename_object("object", "ball")
    ball_driver.studio.remove_object("ball")
    ball_driver.work()
    assert list(ball_driver.state.colors) == ["object"]
    assert ball_driver.state.draft.selected == "object"
    assert ball_driver.shown[-1][0] is None


def test_rename(two, crate_at):
    before = two.studio.session.result()
    two.click(5, crate_at(5))
    two.studio.rename_object("crate", "box")
    assert two.work() == []
    assert list(two.state.colors) == list(two.state.verdicts) == ["object", "box"]
    assert (two.state.draft.selected, len(two.state.draft.marks)) == ("box", 1)
    two.studio.undo()
    two.work()
    two.session_is(before)
    assert two.state.draft.selected == "crate"
    two.studio.new_object("empty")
    two.studio.rename_object("empty", "cup")
    assert two.work() == []
    assert two.state.draft.selected == "cup"


def test_merge(two, still_life):
    before, colors = two.studio.session.result(), two.state.colors
    two.studio.merge_objects(["object", "crate"], "both")
    assert two.work() == []
    assert two.state.colors == {"both": colors["object"]}
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
    assert "fewer than two objects" in two.fails()


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
    assert two.state.draft.selected == "lid"
    assert len(set(two.state.colors.values())) == 2
    assert mean_iou(two, still_life, "lid", "crate") > 0.7
    assert mean_iou(two, still_life, "object", "ball") > 0.7
    two.studio.undo()
    two.work()
    two.session_is(before)
    assert len(two.state.draft.marks) == 1


# What is shown ------------------------------------------------------------------------------------


def test_display_and_threshold_run_nothing(ball_driver):
    driver, shown = ball_driver, len(ball_driver.shown)
    before = driver.studio.session.result()
    driver.studio.set_display(Display(mode="outline", threshold=0.8), True)
    assert not driver.studio.worker.waiting
    objects, display = driver.shown[-1]
    assert len(driver.shown) == shown + 1
    assert objects is driver.shown[-2][0]
    assert (display.mode, display.threshold, display.objects) == ("outline", 0.8, ("object",))
    driver.session_is(before)
    driver.studio.set_display(Display(), False)
    assert driver.shown[-1][1].objects == ()
