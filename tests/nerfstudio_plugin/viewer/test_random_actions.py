"""Random actions in the panel leave its state consistent."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from studio_driver import StudioDriver, assert_same, edges_of, middle_of, oracle_of

from nerfstudio_plugin.display.settings import MODES, Display
from nerfstudio_plugin.viewer.files import Files
from sa3d.base.errors import SA3DError
from sa3d.testing.analytic_scene import AnalyticScene, analytic_scene
from sa3d.testing.oracle_segmenter import OracleSegmenter

VIEWS = 5
NAMES = ("object", "mug", "cup", "lid")
views = st.integers(0, VIEWS - 1)
things = st.sampled_from(("ball", "ball", "crate", "crate", "table", "sky"))
names = st.sampled_from(NAMES)
numbers = st.integers(0, len(NAMES) - 1)


class Oracle(OracleSegmenter):
    """Knows the photos, and raises an error for any other image."""

    def set_image(self, image) -> None:
        try:
            super().set_image(image)
        except KeyError as error:
            raise SA3DError("boxes are for photos' places here") from error


class PanelActions(RuleBasedStateMachine):
    """The user's commands, in any order."""

    analytic: AnalyticScene

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        scene = self.analytic.scene
        self.driver = StudioDriver(scene, oracle_of(self.analytic, Oracle), self.folder / "session")
        self.studio = self.driver.studio
        self.files = Files(self.studio, self.studio.state.folder.parent)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def name(self, number: int) -> str:
        """Of one of the objects there are."""
        there = list(self.studio.state.colors)
        return there[number % len(there)]

    def spot(self, view: int, thing: str) -> tuple[float, float]:
        return (1.0, 1.0) if thing == "sky" else middle_of(self.analytic.masks[thing][view])

    @rule(view=views, thing=things, label=st.sampled_from((1, 1, 0)))
    def click(self, view, thing, label):
        self.studio.click(self.driver.camera(view), self.spot(view, thing), label)

    @rule(view=views, thing=st.sampled_from(("ball", "crate")))
    def box(self, view, thing):
        self.studio.box(self.driver.camera(view), edges_of(self.analytic.masks[thing][view]))

    @rule(candidate=st.sampled_from((None, 0, 1, 2)))
    def choose_candidate(self, candidate):
        self.studio.choose_candidate(candidate)

    @rule()
    def clear_marks(self):
        self.studio.clear_marks()

    @rule(again=st.booleans())
    def segment(self, again):
        self.studio.segment()
        if again:
            self.studio.continue_segmenting()

    @rule(view=views, thing=st.sampled_from(("ball", "crate")), new=names)
    def segment_new(self, view, thing, new):
        self.studio.new_object(new)
        self.click(view, thing, 1)
        self.studio.segment()

    @rule(view=views, thing=st.sampled_from(("ball", "crate")))
    def correct(self, view, thing):
        self.click(view, thing, 1)
        self.studio.segment()

    @rule(after=st.integers(1, VIEWS))
    def stop(self, after):
        left = [after]

        def on_change(_) -> None:
            left[0] -= 1
            if not left[0]:
                self.studio.cancel()

        self.driver.on_change = on_change
        self.studio.segment()
        self.driver.work()
        self.driver.on_change = lambda _: None

    @rule()
    def go_on(self):
        self.studio.continue_segmenting()

    @rule(times=st.integers(1, 3))
    def undo(self, times):
        for _ in range(times):
            self.studio.undo()

    @rule(times=st.integers(1, 3))
    def redo(self, times):
        for _ in range(times):
            self.studio.redo()

    @rule(name=names)
    def new_object(self, name):
        self.studio.new_object(name)

    @rule(number=numbers)
    def select(self, number):
        self.studio.select(self.name(number))

    @rule(number=numbers, new=names)
    def rename(self, number, new):
        self.studio.rename_object(self.name(number), new)

    @rule(number=numbers, into=names)
    def merge(self, number, into):
        self.studio.merge_objects([self.name(number), self.name(number + 1)], into)

    @rule(new=names)
    def split(self, new):
        self.studio.split(new)

    @rule(number=numbers)
    def remove_object(self, number):
        self.studio.remove_object(self.name(number))

    @rule(number=numbers, position=st.integers(0, 1))
    def remove_prompt(self, number, position):
        self.studio.remove_prompt(self.name(number), position)

    @rule(mode=st.sampled_from(MODES), threshold=st.floats(0.05, 0.95), only=st.booleans())
    def display(self, mode, threshold, only):
        self.studio.set_display(Display(mode=mode, threshold=threshold), only)

    @precondition(lambda self: hasattr(self, "driver") and not self.studio.session.unfinished)
    @rule()
    def save_and_open(self):
        self.driver.work()
        before, state = self.studio.session.result(), self.studio.state
        if not before.objects:
            return
        self.files.save(self.folder / "saved")
        self.files.open(self.folder / "saved")
        self.driver.work()
        assert_same(self.studio.session.result(), before)
        assert self.studio.state.preview is None
        assert self.studio.state.colors == state.colors
        assert self.studio.state.draft.selected == state.draft.selected
        assert self.studio.state.display == state.display

    @invariant()
    def everything_is_consistent(self):
        if not hasattr(self, "driver"):
            return
        notices = self.driver.work()
        expected = ("That did not work", *_GOOD)
        assert {notice.title for notice in notices} <= set(expected), notices
        state, session = self.studio.state, self.studio.session
        assert not self.studio.worker.waiting
        assert (state.activity, state.progress) == ("", 0)
        objects = list(session.result().objects)
        assert set(objects) <= set(state.colors)
        assert len(set(state.colors.values())) == len(state.colors)
        assert state.draft.selected in state.colors
        assert list(state.verdicts) == objects
        for name in state.colors:
            assert len(state.prompts[name]) == len(session.prompts(name))
        assert (state.preview is None) or state.draft.marks
        self.undo_and_redo_change_nothing()

    def undo_and_redo_change_nothing(self) -> None:
        state, before = self.studio.state, self.studio.session.result()
        if state.undo:
            self.studio.undo()
            self.studio.redo()
            assert self.driver.work() == []
            assert_same(self.studio.session.result(), before)
            assert self.studio.state.draft == state.draft
            assert (self.studio.state.undo, self.studio.state.redo) == (state.undo, state.redo)


_GOOD = ("Stopped", "Saved", *(f"{name} is segmented" for name in NAMES))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> AnalyticScene:
    folder = tmp_path_factory.mktemp("small")
    return analytic_scene(folder, num_views=VIEWS, size=(32, 24), resolution=24)


def test_a_hundred_random_actions(small, monkeypatch):
    shown = "nerfstudio_plugin.viewer.studio.shown_objects"
    monkeypatch.setattr(shown, lambda *_, **__: None)  # takes longer than all the rest
    PanelActions.analytic = small
    run_state_machine_as_test(
        PanelActions,
        settings=settings(
            max_examples=6,
            stateful_step_count=100,
            deadline=None,
            phases=[Phase.generate],  # shrinking takes minutes
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
