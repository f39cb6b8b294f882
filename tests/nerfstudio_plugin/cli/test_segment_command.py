"""``sa3d segment`` with several objects, of which some fail."""

import json

import numpy as np
import pytest
from PIL import Image

from sa3d.objects.checkpoint import load_segmentation

BALL = {"object": "ball", "view": "frame_00000", "points": [[52, 34]]}
SKY = {"object": "sky", "view": "frame_00000", "mask": "sky.png"}
AIR = {"object": "air", "view": "frame_00000", "mask": "sky.png"}


@pytest.fixture
def segment(command_line, photographed):
    """Run ``sa3d segment`` with a file of prompts; returns exit code, stdout and stderr's lines."""
    seen = np.any([masks[0] for masks in photographed.masks.values()], axis=0)
    Image.fromarray(~seen).save(command_line.folder / "sky.png")

    def run(*entries):
        (command_line.folder / "prompts.json").write_text(json.dumps({"prompts": entries}))
        code, out, err = command_line.run(*command_line.segment("out", "--prompts", "prompts.json"))
        return code, out, err.strip().splitlines()

    return run


def test_the_objects_that_can_be_are_written_and_each_other_has_a_line(command_line, segment):
    code, out, err = segment(SKY, BALL, AIR)
    assert code == 1
    assert len(err) == 2
    assert err[0].startswith("failed: sky: the prompt for 'sky' lands on nothing")
    assert err[1].startswith("failed: air: the prompt for 'air' lands on nothing")
    assert "ball: converged" in out
    assert list(load_segmentation(command_line.folder / "out").segmentation.objects) == ["ball"]
    report = json.loads((command_line.folder / "out/results.json").read_text())
    assert list(report["failed"]) == ["sky", "air"]


def test_if_all_objects_fail_nothing_is_written(command_line, segment):
    code, _, err = segment(SKY, AIR)
    assert code == 2
    assert len(err) == 1
    assert err[0].startswith("error: the prompt for 'sky' lands on nothing")
    assert "'air' lands on nothing" in err[0]
    assert not (command_line.folder / "out").exists()


def test_what_is_known_before_any_work_is_refused_for_all(command_line, segment):
    code, _, err = segment(BALL, {**SKY, "view": "nowhere"})
    assert code == 2
    assert len(err) == 1
    assert "no view is called 'nowhere'" in err[0]
    assert not (command_line.folder / "out").exists()
    assert not list(command_line.folder.glob("sa3d_cache/*/views/*"))
