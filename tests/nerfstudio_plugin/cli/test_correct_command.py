"""``sa3d correct``."""

import json

import numpy as np
import pytest

from sa3d.base.mask_overlap import iou
from sa3d.evaluation.simulated_user import box_of, next_click
from sa3d.objects.checkpoint import load_segmentation


@pytest.fixture
def ball(command_line):
    command_line.succeeds(*command_line.segment_ball("ball"))
    return command_line.folder / "ball"


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_painted_mask_corrects_its_view(command_line, ball, photographed):
    exact = photographed.masks["ball"][5]
    from PIL import Image

    Image.fromarray(exact.astype(np.uint8) * 255).save(command_line.folder / "painted.png")
    rounds = len(load_segmentation(ball).segmentation.object("ball").rounds)
    out = command_line.succeeds(
        "correct", "--segmentation", ball, "--view", "frame_00005", "--mask", "painted.png"
    )
    assert "ball: corrected: " in out
    printed = [line.split()[:2] for line in out.splitlines() if line.startswith("ball ")]
    assert printed == [["ball", str(rounds + 1)]]  # without the rounds before
    corrected = load_segmentation(ball).segmentation.object("ball")
    assert [p.view for p in corrected.prompts] == ["frame_00000.png", "frame_00005.png"]
    assert len(corrected.rounds) == rounds + 1
    assert iou(corrected.views[5].mask, exact) == 1.0
    report = json.loads((ball / "results.json").read_text())
    assert report["objects"][0]["views"]["frame_00005.png"]["outcome"] == "prompted"


def test_a_prompts_file_corrects_several_views_in_all_ways(command_line, ball, photographed):
    from PIL import Image

    exact = photographed.masks["ball"]
    Image.fromarray(exact[4].astype(np.uint8) * 255).save(command_line.folder / "painted.png")
    box, (click, _) = box_of(exact[7]), next_click(np.zeros_like(exact[2]), exact[2])
    entries = [
        {"view": "frame_00004", "object": "ball", "mask": "painted.png"},
        {"view": "frame_00007", "object": "ball", "box": list(box)},
        {"view": "frame_00002", "object": "ball", "points": [click, [1, 1]], "labels": [1, 0]},
    ]
    path = command_line.folder / "more.json"
    path.write_text(json.dumps({"prompts": entries}))
    command_line.succeeds("correct", "--segmentation", ball, "--prompts", path)
    corrected = load_segmentation(ball).segmentation.object("ball")
    prompted = [i for i, record in corrected.views.items() if record.outcome == "prompted"]
    assert sorted(prompted) == [0, 2, 4, 7]
    assert iou(corrected.views[4].mask, exact[4]) == 1.0
    for index in (2, 7):
        assert iou(corrected.views[index].mask, exact[index]) > 0.8


def test_with_output_the_original_stays(command_line, ball):
    before = files(ball)
    beside = ("--view", "frame_00004", "--points", "3,3", "--labels", "0")
    command_line.succeeds("correct", "--segmentation", ball, *beside, "--output", "other")
    assert files(ball) == before
    assert "ball: " in command_line.succeeds("info", "other")
    line = command_line.refuses("correct", "--segmentation", ball, *beside, "--output", "other")
    assert "exists" in line


def test_invalid_corrections_are_refused(command_line, ball):
    before = files(ball)
    click = ("--view", "frame_00004", "--points", "40,40")
    wrong = command_line.refuses("correct", "--segmentation", ball, *click, "--object", "bell")
    assert "no object 'bell'" in wrong
    words = command_line.refuses("correct", "--segmentation", ball, "--text", "ball")
    assert "not with words" in words
    outside = ("--view", "frame_00004", "--points", "400,40")
    assert "outside the image" in command_line.refuses("correct", "--segmentation", ball, *outside)
    assert "no segmentation" in command_line.refuses("correct", "--segmentation", "nope", *click)
    assert files(ball) == before


def test_corrections_stand_alone(command_line, photographed, ball):
    from PIL import Image

    add = ("objects", "add", "crate", "--segmentation", ball)
    box = box_of(photographed.masks["crate"][2])
    command_line.succeeds(*add, "--view", "frame_00002", "--box", *map(str, box))
    exact = photographed.masks["crate"][5]
    Image.fromarray(exact).save(command_line.folder / "painted.png")
    before = load_segmentation(ball).segmentation
    entries = [
        {"view": "frame_00005", "object": "ball", "box": [0, 0, 3, 3]},
        {"view": "frame_00005", "object": "crate", "mask": "painted.png"},
    ]
    (command_line.folder / "more.json").write_text(json.dumps({"prompts": entries}))
    code, out, err = command_line.run("correct", "--segmentation", ball, "--prompts", "more.json")
    assert code == 1
    assert err.startswith("failed: ball: ")
    assert len(err.strip().splitlines()) == 1
    assert "crate: corrected" in out
    after = load_segmentation(ball).segmentation
    assert iou(after.object("crate").views[5].mask, exact) == 1.0
    assert after.object("ball").prompts == before.object("ball").prompts
    assert after.object("ball").verdict == before.object("ball").verdict
