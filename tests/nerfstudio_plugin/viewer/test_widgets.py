"""Widgets whose values the user and the studio both set, from threads of several kinds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import viser
from ns_commands import free_port
from viser import GuiEvent

from nerfstudio_plugin.viewer.panel import SegmentPanel
from nerfstudio_plugin.viewer.widgets import DisplayWidgets, MarkWidgets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def server():
    server = viser.ViserServer(host="127.0.0.1", port=free_port(), verbose=False)
    yield server
    server.stop()


@pytest.fixture
def marks(server, two):
    """The widgets of a studio with the objects "object" and "crate"; crate is selected."""
    widgets = MarkWidgets(server, two.studio)
    widgets.refresh(two.state)
    return widgets


def user_sets(handle, value):
    """Do as viser does when a browser sets a value."""
    handle._impl.value = value
    for call in handle._impl.update_cb:
        call(GuiEvent(client_id=1, client=object(), target=handle))  # type: ignore[arg-type]


def settle(server):
    """Wait until viser has called the callbacks of all values that were written."""
    server.gui._thread_executor.submit(lambda: None).result(timeout=60)


def test_a_refresh_from_an_older_state_does_not_take_the_users_choice_back(marks, two, server):
    old = two.state
    assert old.draft.selected == "crate"
    user_sets(marks._object, "object")
    marks.refresh(old)  # before the worker has carried the choice out
    settle(server)
    assert marks._object.value == "object"
    two.work()
    assert two.state.draft.selected == "object"
    marks.refresh(old)  # a refresher that was slow
    settle(server)
    assert two.work() == []
    assert two.state.draft.selected == "object"
    marks.refresh(two.state)
    assert marks._object.value == "object"


def test_marks_stay_when_the_studio_writes_its_values(marks, two, server, ball_at):
    two.click(5, ball_at(5))
    for state in (two.state, two.state):
        marks.refresh(state)
        settle(server)
    assert two.work() == []
    assert len(two.state.draft.marks) == 1


def test_a_color_that_the_user_picks_is_not_painted_over(marks, two, server):
    old = two.state
    user_sets(marks._color, (1, 2, 3))
    marks.refresh(old)
    settle(server)
    two.work()
    marks.refresh(old)
    settle(server)
    two.work()
    assert two.state.colors["crate"] == (1, 2, 3)


def test_a_choice_that_is_refused_is_taken_back(marks, two, server):
    user_sets(marks._candidates, "2")
    assert two.fails().startswith("Mark something first")
    marks.refresh(two.state)
    assert marks._candidates.value == "best"


def test_undo_changes_the_widgets(marks, two, server):
    user_sets(marks._color, (9, 9, 9))
    two.work()
    marks.refresh(two.state)
    two.studio.undo()
    two.work()
    marks.refresh(two.state)
    settle(server)
    assert two.work() == []
    assert marks._color.value == two.state.colors["crate"] != (9, 9, 9)


def test_a_prompt_is_deleted_only_if_the_list_is_the_one_that_is_shown(marks, two):
    assert marks._prompts.visible
    two.studio.select("object")
    marks._on_delete_prompt()  # the list of "crate" is shown, "object" was chosen meanwhile
    assert two.notices[-1].text == "The prompts have changed: choose again."
    assert two.work() == []
    assert all(two.state.prompts.values())


def test_the_display_follows_the_user(server, two):
    widgets = DisplayWidgets(server, two.studio)
    old = two.state
    user_sets(widgets._mode, "object only")
    widgets.refresh(old)
    widgets.refresh(two.state)
    settle(server)
    assert two.state.display.mode == widgets._mode.value == "object only"


def test_the_refresher_survives_an_error_and_reports_it_once(two):
    panel = SegmentPanel(lambda _: None, lambda *_: None, None)  # type: ignore[arg-type]
    seen = []

    def fail(_):
        raise ZeroDivisionError("of a widget")

    panel._widgets = (SimpleNamespace(refresh=fail), SimpleNamespace(refresh=seen.append))
    before = len(two.notices)
    for _ in range(3):
        panel._refresh(two.studio)
    assert seen == [two.state] * 3
    (notice,) = two.notices[before:]
    assert "ZeroDivisionError: of a widget" in notice.text
