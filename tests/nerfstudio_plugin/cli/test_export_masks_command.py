"""``sa3d export masks`` in every layout."""

import json

import numpy as np
import pytest
from PIL import Image

PLACES = {
    "plain": ("out/ball", "out/ball/frame_00003.png", "L"),
    "rgba": ("out/ball", "out/ball/frame_00003.png", "RGBA"),
    "labels": ("out", "out/frame_00003.png", "L"),
    "colmap": ("out/masks", "out/masks/frame_00003.png.png", "L"),
    "nerfstudio": ("out", "out/masks/frame_00003.png", "L"),
}


def export(ball, layout, output="out"):
    return ("export", "masks", "--segmentation", ball, "--output", output, "--layout", layout)


@pytest.mark.parametrize("layout", PLACES)
def test_every_layout_has_pictures_and_a_manifest(command_line, ball, photographed, layout):
    place, picture, mode = PLACES[layout]
    out = command_line.succeeds(*export(ball, layout), "--json", "report.json")
    assert out.strip() == f"ball: 12 views in {place}"
    with Image.open(command_line.folder / picture) as image:
        assert image.mode == mode
        pixels = np.asarray(image)
    shown = pixels[..., 3] if mode == "RGBA" else pixels
    exact = photographed.masks["ball"][3]
    assert ((shown > 0) ^ exact).sum() < 0.15 * exact.sum()
    manifest = json.loads((command_line.folder / f"{place}.manifest.json").read_text())
    assert manifest["kind"] == "masks"
    assert manifest["result"]["layout"] == layout
    assert manifest["settings"]["reach"] > 0
    report = json.loads((command_line.folder / "report.json").read_text())
    assert report["files"] == {"ball": place}
    assert "--overwrite" in command_line.refuses(*export(ball, layout))
    command_line.succeeds(*export(ball, layout), "--overwrite")


def test_coco_is_a_json(command_line, ball):
    assert "out.json" in command_line.refuses(*export(ball, "coco"))
    command_line.succeeds(*export(ball, "coco", "out.json"), "--no-refine")
    content = json.loads((command_line.folder / "out.json").read_text())
    assert len(content["images"]) == 12
    manifest = json.loads((command_line.folder / "out.json.manifest.json").read_text())
    assert manifest["result"]["annotations"] == len(content["annotations"])
    assert "settings" not in manifest


def test_keep_rest_inverts_the_masks(command_line, ball):
    pictures = []
    for keep in ("object", "rest"):
        command_line.succeeds(*export(ball, "colmap", keep), "--keep", keep)
        with Image.open(command_line.folder / keep / "masks/frame_00003.png.png") as image:
            pictures.append(np.asarray(image))
    np.testing.assert_array_equal(pictures[0], 255 - pictures[1])
