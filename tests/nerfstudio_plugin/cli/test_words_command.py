"""``sa3d segment --text``, with a detector and a segmenter that know the answers."""

import json

import pytest

from nerfstudio_plugin.api import models
from sa3d.testing.oracle_detector import OracleDetector
from sa3d.testing.oracle_segmenter import OracleSegmenter


@pytest.fixture
def oracles(photographed, monkeypatch):
    """The crate looks like a ball in the first view, and scores higher there."""
    views = photographed.scene.views
    images = {view.name: view.image() for view in views}
    masks = {
        view.name: {name: stack[i] for name, stack in photographed.masks.items()}
        for i, view in enumerate(views)
    }
    ys, xs = masks[views[0].name]["crate"].nonzero()
    box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
    detector = OracleDetector(images, masks, wrong={views[0].name: [(box, 0.7)]})
    monkeypatch.setattr(models, "load_detector", lambda *_: detector)
    segmenter = OracleSegmenter(images, masks)
    monkeypatch.setattr(models, "load_segmenter", lambda *_: segmenter)


@pytest.mark.usefixtures("oracles")
@pytest.mark.parametrize("view", [(), ("--view", "frame_00000")])
def test_words_become_an_object(command_line, view):
    words = ("--text", "ball", "--object", "ball", "--json", "r.json")
    out = command_line.succeeds(*command_line.segment("seg", *view, *words))
    assert "\nball: 'ball' by oracle\ncandidate " in out
    assert "\n1, chosen " in out
    report = json.loads((command_line.folder / "r.json").read_text())
    [choice] = report["words"]
    assert {"view", "box", "score", "agreement", "checked", "total"} == set(choice["candidates"][0])
    assert choice["candidates"][0]["agreement"] > 0.6
    totals = [one["total"] for one in choice["candidates"]]
    assert len(totals) == 2
    assert totals[0] > totals[1]
    [prompt] = report["objects"][0]["prompts"]
    assert prompt["text"] == "ball"
    assert prompt["box"] == choice["candidates"][0]["box"]
    assert prompt["view"] == choice["candidates"][0]["view"]


@pytest.mark.usefixtures("oracles")
def test_nothing_fits_the_words(command_line):
    words = ("--text", "teapot", "--view", "frame_00005", "--words.views", "1")
    code, _, err = command_line.run(*command_line.segment("seg", *words))
    assert code == 2
    line = err.strip().splitlines()[-1]
    assert line.startswith(
        "error: oracle finds no 'teapot' in frame_00005.png; nearest scores: 0.10"
    )
    assert not (command_line.folder / "seg").exists()
