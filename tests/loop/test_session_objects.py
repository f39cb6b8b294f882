"""Tests of a session's objects: colors, results, and the shared history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.base.history import History
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.session import Session
from sa3d.objects.colors import COLORS, free_color
from sa3d.objects.events import ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleSegmenter

NAMES = ("a", "b", "c")


def oracle(still_life: AnalyticScene) -> OracleSegmenter:
    views = still_life.scene.views
    masks = {
        view.name: {name: stack[i] for name, stack in still_life.masks.items()}
        for i, view in enumerate(views)
    }
    return OracleSegmenter({view.name: view.image() for view in views}, masks)


def marked(still_life: AnalyticScene, name: str, of: str = "ball", view: int = 0) -> Prompt:
    return Prompt(still_life.scene.views[view].name, name, mask=still_life.masks[of][view])


@pytest.fixture
def both(still_life: AnalyticScene) -> Session:
    """Ball and crate, finished."""
    session = Session(still_life.scene, oracle(still_life))
    session.add_prompts([marked(still_life, name, name) for name in ("ball", "crate")])
    for _ in session.run():
        pass
    return session


def bits(one: ObjectResult) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in (one.evidence.object, one.evidence.total)]


def test_a_result_is_copied_only_where_something_changes(
    both: Session, still_life: AnalyticScene
) -> None:
    first, again = both.result(), both.result()
    for name in ("ball", "crate"):
        one, same = first.object(name).evidence, again.object(name).evidence
        assert one.object is same.object
        assert one.total is same.total
    before = bits(first.object("ball"))
    both.add_prompts([marked(still_life, "ball", "crate", view=3)])
    for _ in both.run():
        assert bits(first.object("ball")) == before
        both.result()
    assert bits(both.result().object("ball")) != before
    assert both.result().object("crate").evidence.object is first.object("crate").evidence.object
    both.undo()
    assert bits(both.result().object("ball")) == before


def test_colors_go_with_their_objects(both: Session, still_life: AnalyticScene) -> None:
    assert both.colors == {"ball": COLORS[0], "crate": COLORS[1]}
    both.remove_object("ball")
    assert both.result().colors == {"crate": COLORS[1]}
    both.undo()
    both.rename_object("ball", "orb")
    both.set_color("orb", (1, 2, 3))
    assert both.colors == {"orb": (1, 2, 3), "crate": COLORS[1]}
    both.merge_objects(["orb", "crate"], "crate")
    assert both.colors == {"crate": (1, 2, 3)}
    both.split_object("crate", [marked(still_life, "lid", "crate", view=3)], "lid")
    assert both.colors == {"crate": (1, 2, 3), "lid": COLORS[0]}
    resumed = Session(still_life.scene, both.segmenter)
    resumed.resume(both.result())
    assert resumed.colors == both.colors
    with pytest.raises(SA3DError, match="no object 'mug'"):
        both.set_color("mug", (1, 2, 3))
    with pytest.raises(SA3DError, match="from 0 to 255"):
        both.set_color("lid", (1, 2, 300))


def test_a_new_object_may_be_given_a_color(still_life: AnalyticScene) -> None:
    session = Session(still_life.scene, oracle(still_life))
    prompts = [marked(still_life, "ball"), marked(still_life, "crate", "crate")]
    session.add_prompts(prompts, {"crate": COLORS[0], "other": (1, 2, 3)})
    assert session.colors == {"ball": COLORS[0], "crate": COLORS[0]}
    session.add_prompts([marked(still_life, "ball", view=2)], {"ball": (9, 9, 9)})
    assert session.colors["ball"] == COLORS[0]  # it has one


def test_objects_that_were_resumed_stay_when_earlier_actions_are_undone(
    both: Session, still_life: AnalyticScene
) -> None:
    session = Session(still_life.scene, oracle(still_life))
    session.add_prompts([marked(still_life, "other")])
    session.resume(both.result())
    assert session.undo()
    assert session.colors == {"ball": COLORS[0], "crate": COLORS[1]}
    assert session.redo()
    assert list(session.colors) == ["other", "ball", "crate"]


def test_what_cannot_be_resumed_as_a_whole_is_not_resumed(
    both: Session, still_life: AnalyticScene
) -> None:
    session = Session(still_life.scene, oracle(still_life))
    session.add_prompts([marked(still_life, "crate")])
    with pytest.raises(SA3DError, match="'crate' already: give another name"):
        session.resume(both.result())
    assert list(session.colors) == ["crate"]


color = st.tuples(*[st.integers(0, 255)] * 3)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(NAMES)),
        st.tuples(st.just("remove"), st.sampled_from(NAMES)),
        st.tuples(st.just("paint"), st.sampled_from(NAMES), color),
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    ),
    max_size=12,
)


@given(actions)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_colors_are_undone_and_redone(still_life: AnalyticScene, actions: list[tuple]) -> None:
    session = Session(still_life.scene, oracle(still_life))
    states: list[dict] = [{}]
    for kind, name, *more in actions:
        colors = dict(states[-1])
        if kind == "add":
            session.add_prompts([marked(still_life, name)])
            colors.setdefault(name, free_color(colors.values()))
        elif name not in colors or (kind == "rename" and more[0] in colors):
            continue
        elif kind == "remove":
            session.remove_object(name)
            del colors[name]
        elif kind == "paint":
            session.set_color(name, more[0])
            colors[name] = more[0]
        else:
            session.rename_object(name, more[0])
            colors = {more[0] if one == name else one: c for one, c in colors.items()}
        states.append(colors)
        assert list(session.colors.items()) == list(colors.items())
    for expected in reversed(states[:-1]):
        assert session.undo()
        assert list(session.colors.items()) == list(expected.items())
    for expected in states[1:]:
        assert session.redo()
        assert list(session.colors.items()) == list(expected.items())


def test_added_objects_are_one_step(both: Session, still_life: AnalyticScene) -> None:
    session = Session(still_life.scene, both.segmenter)
    session.add_prompts([marked(still_life, "orb")])
    for _ in session.run():
        pass
    added = both.result()
    session.add_objects(added)
    with pytest.raises(SA3DError, match="'ball' already"):
        session.add_objects(added)
    colors = session.colors
    assert session.undo()
    assert list(session.result().objects) == ["orb"]
    assert session.redo()
    again = session.result()
    assert list(again.objects) == ["orb", "ball", "crate"]
    assert session.colors == colors
    for name, one in added.objects.items():
        assert bits(again.object(name)) == bits(one)
        assert again.object(name).verdict == one.verdict
    assert session.undo()
    assert session.undo()
    assert not session.result().objects


def test_a_client_makes_one_action_of_several_changes_and_its_own(
    both: Session, still_life: AnalyticScene
) -> None:
    history, notes = History(), ["before"]

    class NoteChange:
        def __init__(self, note: str) -> None:
            self.note = note

        def swap(self) -> NoteChange:
            reverse, notes[0] = NoteChange(notes[0]), self.note
            return reverse

    session = Session(still_life.scene, both.segmenter, history=history)
    session.resume(both.result())
    before = session.result()
    with history.group("merge and paint"):
        session.merge_objects(["ball", "crate"], "things")
        session.set_color("things", (1, 2, 3))
        history.remember(NoteChange(notes[0]))
        notes[0] = "after"
    merged = session.result()
    assert history.last is not None
    assert history.last.label == "merge and paint"
    assert session.undo()
    assert (list(session.colors), notes) == (["ball", "crate"], ["before"])
    for name in session.colors:
        assert bits(session.result().object(name)) == bits(before.object(name))
    assert not session.undo()
    assert session.redo()
    assert (session.colors, notes) == ({"things": (1, 2, 3)}, ["after"])
    assert bits(session.result().object("things")) == bits(merged.object("things"))

    def remove_two() -> None:
        with history.group("fails"):
            session.remove_object("things")
            session.remove_object("mug")

    with pytest.raises(SA3DError, match="no object 'mug'"):
        remove_two()
    assert bits(session.result().object("things")) == bits(merged.object("things"))
    assert history.last.label == "merge and paint"


def sky(still_life: AnalyticScene, name: str, view: int = 0) -> Prompt:
    """Return a prompt that can be checked only by segmenting it: there is no surface."""
    seen = np.any([masks[view] for masks in still_life.masks.values()], axis=0)
    assert (~seen).sum() > 20
    return Prompt(still_life.scene.views[view].name, name, mask=~seen)


def empty_box(still_life: AnalyticScene, name: str, view: int = 3) -> Prompt:
    """Return a box in the sky, in which the segmenter finds nothing."""
    return Prompt(still_life.scene.views[view].name, name, box=(0, 0, 3, 3))


def test_objects_that_fail_do_not_keep_the_others_from_being_finished(
    both: Session, still_life: AnalyticScene
) -> None:
    session = Session(still_life.scene, oracle(still_life))
    first, last = marked(still_life, "ball", "ball"), marked(still_life, "crate", "crate")
    session.add_prompts([first, sky(still_life, "sky"), empty_box(still_life, "box"), last])
    with pytest.raises(ObjectsFailedError, match=r"the other objects are kept: ball, crate$") as e:
        list(session.run())
    assert list(e.value.failed) == ["sky", "box"]
    assert "'sky' lands on nothing" in e.value.failed["sky"]
    assert "finds nothing at the prompt for 'box'" in e.value.failed["box"]
    assert "'sky' lands on nothing" in str(e.value)
    result = session.result()
    assert list(result.objects) == ["ball", "crate"]
    assert not session.unfinished
    for name, one in result.objects.items():
        assert bits(one) == bits(both.result().object(name))
        assert one.verdict == both.result().object(name).verdict
    assert session.undo()  # the one action that added them
    assert not session.result().objects
    assert session.redo()
    assert list(session.result().objects) == ["ball", "crate"]
    assert bits(session.result().object("ball")) == bits(both.result().object("ball"))


def test_the_only_object_that_fails_is_told_in_its_own_words(still_life: AnalyticScene) -> None:
    session = Session(still_life.scene, oracle(still_life))
    session.add_prompts([sky(still_life, "sky")])
    with pytest.raises(ObjectsFailedError) as error:
        list(session.run())
    assert str(error.value) == error.value.failed["sky"]
    assert error.value.kept == ()
    assert not session.result().objects


def test_a_correction_that_fails_leaves_its_object_as_it_was(
    both: Session, still_life: AnalyticScene
) -> None:
    before = both.result()
    both.add_prompts([empty_box(still_life, "ball"), marked(still_life, "crate", "crate", view=3)])
    with pytest.raises(ObjectsFailedError, match=r"'ball'.*; the other objects are kept: crate$"):
        list(both.run())
    after = both.result()
    assert bits(after.object("ball")) == bits(before.object("ball"))
    assert after.object("ball").prompts == before.object("ball").prompts
    assert after.object("ball").views == before.object("ball").views
    assert len(after.object("crate").prompts) == 2
    assert not both.unfinished
    assert both.undo()
    for name in ("ball", "crate"):
        assert bits(both.result().object(name)) == bits(before.object(name))


def test_an_object_that_failed_in_a_stopped_run_is_told_by_the_next(
    still_life: AnalyticScene,
) -> None:
    session = Session(still_life.scene, oracle(still_life))
    session.add_prompts([sky(still_life, "sky"), marked(still_life, "ball")])
    for event in session.run():
        if isinstance(event, ViewDone) and event.object == "ball" and event.round == 1:
            break
    assert session.unfinished
    with pytest.raises(ObjectsFailedError, match="the other objects are kept: ball"):
        list(session.run())
    assert list(session.result().objects) == ["ball"]


def test_a_saved_correction_that_fails_leaves_the_object_as_it_was_saved(
    both: Session, still_life: AnalyticScene
) -> None:
    finished = both.result().object("ball")
    both.add_prompts([empty_box(still_life, "ball")])
    session = Session(still_life.scene, oracle(still_life))
    session.resume(both.result())
    assert session.unfinished
    with pytest.raises(ObjectsFailedError, match="finds nothing"):
        list(session.run())
    assert list(session.result().objects) == ["ball", "crate"]
    assert session.prompts("ball") == list(finished.prompts)
    assert bits(session.result().object("ball")) == bits(finished)


def fails_after(monkeypatch: pytest.MonkeyPatch, method: str, calls: int) -> None:
    """Make a method of every ``ObjectLoop`` fail after some calls."""
    right, left = getattr(ObjectLoop, method), [calls]

    def failing(*args: object, **keywords: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise SA3DError("the photo cannot be read")
        return right(*args, **keywords)

    monkeypatch.setattr(ObjectLoop, method, failing)


@pytest.mark.parametrize("add", ["resume", "add_objects"])
def test_objects_are_added_all_or_none(
    both: Session, still_life: AnalyticScene, monkeypatch: pytest.MonkeyPatch, add: str
) -> None:
    session = Session(still_life.scene, oracle(still_life))
    session.add_prompts([marked(still_life, "other")])
    fails_after(monkeypatch, "resume", 1)  # at the second object
    with pytest.raises(SA3DError, match="cannot be read"):
        getattr(session, add)(both.result())
    assert list(session.result().objects) == ["other"]
    assert session.undo()
    assert not session.result().objects


def test_a_split_that_fails_after_its_first_view_changes_nothing(
    both: Session, still_life: AnalyticScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = both.result().object("ball")
    prompts = []
    for view in (0, 3):
        part = still_life.masks["ball"][view].copy()
        part[: int(np.nonzero(part)[0].mean())] = False
        prompts.append(Prompt(still_life.scene.views[view].name, "part", mask=part))
    fails_after(monkeypatch, "vote_with_mask", 3)  # two views of the part, one of the whole
    with pytest.raises(SA3DError, match="cannot be read"):
        both.split_object("ball", prompts, "part")
    after = both.result().object("ball")
    assert bits(after) == bits(before)
    assert after.views == before.views
    assert after.prompts == before.prompts
    assert list(both.result().objects) == ["ball", "crate"]
