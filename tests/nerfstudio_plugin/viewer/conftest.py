"""A studio on the analytic scene."""

import pytest
from desktop import Desktop, middle_of, oracle_of


@pytest.fixture(autouse=True)
def no_blocks(monkeypatch) -> None:
    """What is cut out of the scene is not built: that takes longer than all the rest."""
    monkeypatch.setattr("nerfstudio_plugin.display.shown_objects._solid", lambda *_: "built")


@pytest.fixture
def desktop(still_life, tmp_path) -> Desktop:
    """Nothing marked yet."""
    return Desktop(still_life.scene, oracle_of(still_life), tmp_path / "session")


@pytest.fixture
def ball_desktop(desktop, still_life) -> Desktop:
    """The ball is segmented, by one click, as "object"."""
    desktop.click(0, middle_of(still_life.masks["ball"][0]))
    (told,) = desktop.segment()
    assert told.title == "object is segmented"
    return desktop


@pytest.fixture
def ball_at(still_life):
    """The middle of the ball in a view."""
    return lambda view: middle_of(still_life.masks["ball"][view])


@pytest.fixture
def crate_at(still_life):
    return lambda view: middle_of(still_life.masks["crate"][view])


@pytest.fixture
def two(ball_desktop, crate_at):
    """The ball is "object", the crate "crate"."""
    ball_desktop.studio.new_object("crate")
    ball_desktop.work()
    ball_desktop.click(3, crate_at(3))
    ball_desktop.segment()
    return ball_desktop
