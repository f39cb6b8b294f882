"""``sa3d view`` on the demo room, clicked through in a real browser as a person would."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from view_page import ViewPage, browser, view_server

from nerfstudio_plugin.cli import main
from nerfstudio_plugin.demo.data import open_demo
from nerfstudio_plugin.runs.opening import open_run
from sa3d.objects.checkpoint import load_segmentation, read_bitmap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="no chromium on this machine: apt-get install it"
    ),
]

MUG, BALL = "mug", "ball"
FLOOR = 0.85
"""Mean IoU over all photos, of one box, and of four clicks at most."""


@pytest.fixture(scope="module")
def demo():
    return open_demo("room")


@pytest.fixture(scope="module")
def cameras(demo):
    return {view.name: view.camera for view in open_run(demo.load_config, data=demo.folder).views}


def exact(demo, name, photo):
    return read_bitmap(demo.folder / "masks_gt" / name / f"{Path(photo).stem}.png")


def box_of(mask):
    ys, xs = np.nonzero(mask)
    return (xs.min() - 2.0, ys.min() - 2.0), (xs.max() + 2.0, ys.max() + 2.0)


def mean_iou(demo, folder, name, capsys):
    """Return the mean IoU of the masks that ``sa3d export masks`` writes with the true ones."""
    output = folder.parent / f"{name}_masks"
    words = ("--segmentation", folder, "--objects", name, "--output", output, "--no-refine")
    assert main(["export", "masks", *(str(word) for word in words), "--overwrite"]) == 0
    capsys.readouterr()
    scores = []
    for path in sorted((output / name).iterdir()):
        found, truth = read_bitmap(path), exact(demo, name, path.name)
        if truth.any():
            scores.append((found & truth).sum() / (found | truth).sum())
    assert len(scores) > 40
    return float(np.mean(scores))


def test_click_correct_export_and_come_back(demo, cameras, room_cache, tmp_path, pictures, capsys):
    options = ("--demo", "room", "--config", "demo", "--cache-dir", room_cache)
    first = next(iter(cameras))
    camera, mug = cameras[first], exact(demo, MUG, first)
    middle = tuple(np.argwhere(mug).mean(axis=0)[::-1])
    with browser() as chromium:
        with view_server(*options, cwd=tmp_path) as url:
            assert url.startswith("http://127.0.0.1:")
            page = ViewPage(chromium, url, pictures)
            page.says("Ready: mark object")
            a_name_runs_nothing(page)
            stand_at_the_first_photo(page)
            page.picture("view_1_opened")
            box_the_mug(page, camera, mug)
            page.picture("view_2_preview")
            page.choose("Mask", "2")
            page.says("candidate 2")
            page.choose("Mask", "best")
            page.says("the best mask")
            page.press("Segment in 3D")
            page.says("mug: round 1")
            another_tab_comes_and_goes(chromium, url, pictures)
            page.picture("view_3_running")
            page.says("mug: converged")
            every_way_of_showing(page, camera, middle)
            a_correction_undone_and_done_again(page, camera, mug)
            export_and_download(page, tmp_path)
            page.open_folder("Session")
            page.press("Save")
            page.says("The session is in")
            assert page.errors == []
            page.page.close()
        folder = tmp_path / "demo_output/segmentations/viewer"
        assert mean_iou(demo, folder, MUG, capsys) >= FLOOR
        saved = load_segmentation(folder).segmentation
        with view_server(*options, cwd=tmp_path) as url:
            page = ViewPage(chromium, url, pictures)
            page.says(saved.objects[MUG].verdict)
            assert page.value("Prompts").startswith("2. 000.jpg")
            stand_at_the_first_photo(page)
            the_ball_from_clicks(page, camera, exact(demo, BALL, first))
            page.open_folder("Session")
            page.press("Save")
            page.says("The session is in")
            page.page.reload()
            page.says("ball")
            page.picture("view_8_two_objects")
        assert mean_iou(demo, folder, BALL, capsys) >= FLOOR
        kept = load_segmentation(folder).segmentation
        assert list(kept.objects) == [MUG, BALL]
        assert kept.objects[MUG].prompts == saved.objects[MUG].prompts


def stand_at_the_first_photo(page):
    page.open_folder("Photos")
    page.press("Next")
    page.press("Previous")
    page.page.wait_for_timeout(4000)  # the camera glides there
    page.open_folder("Photos")


def a_name_runs_nothing(page):
    """Viser evaluates Markdown as MDX: braces in it are programs."""
    name = "{(globalThis.PWNED=1)} <img src=x onerror='globalThis.PWNED=1'>"
    page.type("New name", name)
    page.press("New object")
    page.says(f"Ready: mark {name}")
    assert page.page.evaluate("globalThis.PWNED") is None


def box_the_mug(page, camera, mug):
    page.type("New name", MUG)
    page.press("New object")
    page.says("Ready: mark mug")
    page.choose("Pointer", "drags a box")
    page.says("Drag a rectangle")
    page.drag(camera, *box_of(mug))
    page.says("predicted IoU")


def another_tab_comes_and_goes(chromium, url, pictures):
    other = ViewPage(chromium, url, pictures)
    other.holds("Object", MUG)
    other.page.close()


def every_way_of_showing(page, camera, middle):
    def is_tinted(color):
        return color[0] > 1.5 * color[2]  # the mug is white and blue, its mark is orange

    page.wait_for_color(camera, middle, is_tinted)
    page.picture("view_4_overlay")
    page.choose("Show", "outline")
    page.wait_for_color(camera, middle, lambda color: not is_tinted(color))
    page.choose("Show", "object only")
    page.wait_for_color(camera, (4.0, 4.0), lambda color: min(color) > 240)
    page.picture("view_5_object_only")
    page.choose("Show", "without object")
    page.wait_for_color(camera, (4.0, 4.0), lambda color: min(color) < 230)
    page.wait_for_color(camera, middle, lambda color: color[0] > color[2])  # wood and wall
    page.picture("view_6_without_object")
    page.choose("Show", "probability")
    page.picture("view_7_probability")
    page.choose("Show", "overlay")
    page.wait_for_color(camera, middle, is_tinted)


def a_correction_undone_and_done_again(page, camera, mug):
    """A click beside the mug that changes little is a correction like any other."""
    bottom = box_of(mug)[1]
    page.choose("Pointer", "clicks beside it")
    page.says("does not belong")
    page.click(camera, (bottom[0] + 14, bottom[1] + 8))
    page.says("predicted IoU")
    page.press("Segment in 3D")
    page.says("corrected:")
    page.press("Undo")
    page.says("converged after")
    page.press("Redo")
    page.says("corrected:")


def export_and_download(page, tmp_path):
    with page.page.expect_download(timeout=240_000) as waiting:
        page.press("Export and download")
    file = tmp_path / "downloaded.glb"
    waiting.value.save_as(file)
    assert file.read_bytes() == (tmp_path / "demo_output/exports/mug.glb").read_bytes()
    assert (tmp_path / "demo_output/exports/mug.glb.manifest.json").is_file()
    mesh = trimesh.load(file, force="mesh")
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight
    page.says("The same in a terminal")
    shown = page.page.get_by_text("sa3d export mesh").first.inner_text()
    words = shlex.split(shown)
    assert words[:3] == ["sa3d", "export", "mesh"]
    assert words[words.index("--objects") + 1] == MUG


def the_ball_from_clicks(page, camera, ball):
    page.type("New name", BALL)
    page.press("New object")
    page.says("Ready: mark ball")
    page.choose("Pointer", "clicks on the object")
    page.says("Every click adds")
    (left, top), (right, bottom) = box_of(ball)
    for x, y in ((0.3, 0.6), (0.7, 0.6), (0.5, 0.2)):
        page.click(camera, (left + x * (right - left), top + y * (bottom - top)))
        page.says("predicted IoU")
        page.page.wait_for_timeout(1500)
    page.press("Segment in 3D")
    page.says("ball: converged")
