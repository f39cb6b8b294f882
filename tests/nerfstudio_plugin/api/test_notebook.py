"""The example notebook: its code cells run, in order, in this process, on the analytic scene.

The cells are executed as Python, not by a Jupyter kernel, whose start alone takes longer; and the
analytic scene stands in the demo room's place, which takes minutes to prepare.
"""

import json
from pathlib import Path

import pytest

from nerfstudio_plugin.demo.data import open_demo
from sa3d.loop.settings import load_settings
from sa3d.objects.events import Finished
from sa3d.scene.config import PrepareConfig

NOTEBOOK = Path(__file__).parents[3] / "examples/segment_an_object.ipynb"


@pytest.fixture
def cells():
    content = json.loads(NOTEBOOK.read_text())
    assert content["nbformat"] == 4
    return content["cells"]


def test_is_kept_without_outputs(cells):
    assert NOTEBOOK.stat().st_size < 10_000
    assert not any(cell.get("outputs") for cell in cells)


def test_runs(cells, small_demo):
    assert "ball" in open_demo("room").prompts  # the shipped scene has what the notebook marks
    names = {}
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        if "scene" not in names and "settings" in names:  # the one thing that is not as it is there
            names["settings"] = load_settings("demo")
            names["settings"].prepare = PrepareConfig(resolution=40)
    assert isinstance(names["events"][-1], Finished)
    assert names["mean_iou"] > 0.8
    assert [path.name for path in names["written"]] == ["ball.glb", "ball", "ball.ply"]
    assert all(path.exists() for path in names["written"])
    assert list(names["again"].objects) == ["ball"]
