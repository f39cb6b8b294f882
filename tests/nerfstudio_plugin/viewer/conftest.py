"""A studio on the analytic scene."""

import pytest
from studio_driver import StudioDriver, middle_of, oracle_of


@pytest.fixture(autouse=True)
def no_blocks(monkeypatch) -> None:
    """Build no solid objects, which takes longer than everything else."""
    monkeypatch.setattr("nerfstudio_plugin.display.shown_objects._solid", lambda *_: "built")


@pytest.fixture
def driver(still_life, tmp_path) -> StudioDriver:
    """A studio without marks."""
    return StudioDriver(still_life.scene, oracle_of(still_life), tmp_path / "session")


@pytest.fixture
def ball_driver(driver, still_life) -> StudioDriver:
    """The ball is segmented, by one click, as "object"."""
    driver.click(0, middle_of(still_life.masks["ball"][0]))
    (notice,) = driver.segment()
    assert notice.title == "object is segmented"
    return driver


@pytest.fixture
def ball_at(still_life):
    """The middle of the ball in a view."""
    return lambda view: middle_of(still_life.masks["ball"][view])


@pytest.fixture
def crate_at(still_life):
    return lambda view: middle_of(still_life.masks["crate"][view])


@pytest.fixture
def two(ball_driver, crate_at):
    """The ball is "object", the crate "crate"."""
    ball_driver.studio.new_object("crate")
    ball_driver.work()
    ball_driver.click(3, crate_at(3))
    ball_driver.segment()
    return ball_driver
