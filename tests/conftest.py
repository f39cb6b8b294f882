"""One prepared analytic scene for all tests that only read it."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import tempfile

import libusb_package
import pytest
from fuzz_tally import PROPERTY, table

from sa3d.objects.segmentation import Segmentation
from sa3d.testing.analytic_scene import AnalyticScene, analytic_scene, voted_segmentation

# Tests mean the same on every machine: no downloaded weights are found, and none are fetched.
os.environ["HF_HUB_CACHE"] = tempfile.mkdtemp(prefix="sa3d-no-hub-")
os.environ["HF_HUB_OFFLINE"] = "1"
atexit.register(shutil.rmtree, os.environ["HF_HUB_CACHE"], ignore_errors=True)
# The user's list of runs is not theirs to write.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="sa3d-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# Open3D, which ns-export imports as well, wants a libusb that bare machines lack.
os.environ["LD_PRELOAD"] = str(libusb_package.get_library_path())
ctypes.CDLL(os.environ["LD_PRELOAD"])


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--pictures DIR``: keep the pictures that tests take of pages."""
    parser.addoption("--pictures", help="folder for pictures of pages")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what became of the fuzz suite's trials."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    counts = [value for r in reports for key, value in r.user_properties if key == PROPERTY]
    if counts:
        terminalreporter.section("fuzz: outcomes by class")
        terminalreporter.write_line("\n".join(table(counts)))


@pytest.fixture(scope="session")
def still_life(tmp_path_factory: pytest.TempPathFactory) -> AnalyticScene:
    """A ball and a crate on a table, twelve views, prepared. Do not change it."""
    return analytic_scene(tmp_path_factory.mktemp("still_life"))


@pytest.fixture(scope="session")
def voted(still_life: AnalyticScene) -> Segmentation:
    """Ball and crate, segmented with exact masks. Do not change it."""
    masks = {name: still_life.masks[name] for name in ("ball", "crate")}
    return voted_segmentation(still_life.scene, masks)
