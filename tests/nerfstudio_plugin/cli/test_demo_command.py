"""``sa3d demo``: the shipped scenes are complete, and the command measures its results."""

import json

import numpy as np
import pytest

from nerfstudio_plugin.demo.data import DEMO_SCENES, open_demo


@pytest.mark.parametrize("name", DEMO_SCENES)
def test_shipped_scene_is_complete(name):
    demo = open_demo(name)
    meta = json.loads((demo.folder / "transforms.json").read_text())
    assert len(demo.prompts) >= 5
    for prompt in demo.prompts.values():
        assert (demo.folder / "images" / prompt.view).is_file()
        assert len(list((demo.folder / "masks_gt" / prompt.object).glob("*.png"))) == len(
            meta["frames"]
        )
        prompt.check_against(meta["w"], meta["h"])


def test_demo_writes_and_measures(small_demo):
    out = small_demo.succeeds("demo", "--output", "d", "--prepare.resolution", "40")
    folder = small_demo.folder / "d/room"
    report = json.loads((folder / "results.json").read_text())
    iou = report["iou"]
    assert list(iou["objects"]) == ["ball", "crate"]
    stages = ["lifted", "first_pass", "converged", "upper_bound"]
    for row in (*iou["objects"].values(), iou["mean"], iou["worst"]):
        assert list(row) == stages
        assert all(0 <= value <= 1 for value in row.values())
    converged = [row["converged"] for row in iou["objects"].values()]
    assert iou["mean"]["converged"] == pytest.approx(np.mean(converged))
    assert iou["worst"]["converged"] == min(converged)
    assert iou["objects"]["ball"]["converged"] > max(0.8, iou["objects"]["ball"]["lifted"])
    assert f"{iou['mean']['upper_bound']:.3f}" in out
    for name in ("ball", "crate"):
        assert (folder / "mesh" / f"{name}.glb").is_file()
        assert (folder / "pointcloud" / f"{name}.ply").is_file()
    assert (folder / "overlay.png").is_file()
    assert "--overwrite" in small_demo.refuses("demo", "--output", "d")


def test_demo_of_unknown_object(small_demo):
    line = small_demo.refuses("demo", "--objects", "bell")
    assert line == "error: no object 'bell' here; there are: ball, crate"
