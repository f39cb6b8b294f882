"""``sa3d objects``."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sa3d.base.mask_overlap import iou
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.colors import object_color


@pytest.fixture
def both(command_line, ball, photographed):
    """A segmentation of ``ball`` and a double of it, ``twin``; they overlap completely."""
    saved = load_segmentation(ball)
    twin = saved.segmentation.recolored("ball", object_color(1)).renamed("ball", "twin").objects
    saved.segmentation.objects.update(twin)
    save_segmentation(saved.segmentation, ball, saved.provenance, overwrite=True)
    return ball


def objects(folder):
    return load_segmentation(folder).segmentation.objects


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_help_lists_the_actions(command_line):
    out = command_line.succeeds("objects", "--help")
    assert "sa3d objects merge cup saucer --into cup" in out
    line = command_line.refuses("objects", "paint")
    assert "list, rename, color, add, merge, split, delete" in line


def test_list(command_line, both):
    out = command_line.succeeds("objects", "list", "--segmentation", both, "--json", "list.json")
    rows = json.loads((command_line.folder / "list.json").read_text())["objects"]
    assert [row["name"] for row in rows] == ["ball", "twin"]
    assert rows[1]["color"] == "#{:02x}{:02x}{:02x}".format(*object_color(1))
    assert rows[0]["elements"] > rows[1]["elements"] == 0  # equal evidence: the first has it
    assert "ball: converged" in out


def test_rename_keeps_everything_else(command_line, both):
    before = objects(both)
    out = command_line.succeeds("objects", "rename", "ball", "orb", "--segmentation", both)
    assert "objects: orb, twin" in out
    after = objects(both)
    assert list(after) == ["orb", "twin"]
    assert torch.equal(after["orb"].evidence.object, before["ball"].evidence.object)
    assert {prompt.object for prompt in after["orb"].prompts} == {"orb"}
    assert (both / "masks/orb").is_dir()
    assert not (both / "masks/ball").exists()
    report = json.loads((both / "results.json").read_text())
    assert [one["name"] for one in report["objects"]] == ["orb", "twin"]
    assert (both / "overlay.png").is_file()


def test_rename_does_not_open_the_run(command_line, both, monkeypatch):
    """Only a missing picture makes it open the run; the files are the same either way."""
    command_line.succeeds("objects", "rename", "ball", "orb", "--segmentation", both)
    drawn = files(both)
    monkeypatch.setattr("nerfstudio_plugin.api.opening.load", None)
    command_line.succeeds("objects", "rename", "orb", "x", "--segmentation", both)
    assert files(both) != drawn
    report = ("--json", "report.json", "--output", "again")
    command_line.succeeds("objects", "rename", "x", "orb", "--segmentation", both, *report)
    assert files(command_line.folder / "again") == drawn
    report = json.loads((command_line.folder / "report.json").read_text())
    assert report["objects"][0]["prompts"][0]["object"] == "orb"


def test_mistakes_show_before_the_run_is_opened(command_line, both, monkeypatch):
    monkeypatch.setattr("nerfstudio_plugin.api.opening.load", None)
    click = ("--view", "frame_00000", "--points", "1,1")
    for arguments in (
        ("objects", "color", "x", "#ffffff"),
        ("objects", "delete", "x"),
        ("objects", "merge", "ball", "x", "--into", "y"),
        ("objects", "split", "x", "--new", "y", *click),
        ("correct", "--object", "x", *click),
        ("next-view", "--objects", "x"),
    ):
        assert "no object 'x'" in command_line.refuses(*arguments, "--segmentation", both)
    line = command_line.refuses("correct", *click, "--segmentation", both)
    assert "give --object, the one to correct: ball, twin" in line


def test_names_are_printed_as_they_are(command_line, both):
    out = command_line.succeeds("objects", "rename", "twin", "[red]", "--segmentation", both)
    assert "objects: ball, [red]" in out
    out = command_line.succeeds("objects", "list", "--segmentation", both)
    assert out.count("[red]") == 2  # in the table, and before the verdict


@pytest.mark.parametrize("action", ["merge", "delete"])
def test_usage_shows_that_there_may_be_several_names(command_line, action):
    assert "NAME [NAME ...]" in command_line.succeeds("objects", action, "--help")


@pytest.mark.parametrize("action", ["list", "rename", "color", "add", "merge", "split", "delete"])
def test_help_of_every_action_has_an_example(command_line, action):
    assert f"  sa3d objects {action} " in command_line.succeeds("objects", action, "--help")


def test_color(command_line, both):
    before = objects(both)
    for color in ("#0a0b0c", "10,11,12"):
        command_line.succeeds("objects", "color", "twin", color, "--segmentation", both)
        after = objects(both)
        assert after["twin"].color == (10, 11, 12)
    assert after["ball"].color == before["ball"].color
    assert torch.equal(after["twin"].evidence.object, before["twin"].evidence.object)
    assert "#0a0b0c" in command_line.succeeds("objects", "list", "--segmentation", both)


def test_pictures_and_exports_have_the_color(command_line, ball, photographed):
    color, one = [1, 250, 3], ("--segmentation", ball)
    command_line.succeeds("objects", "color", "ball", "1,250,3", *one)
    sheet = np.asarray(Image.open(ball / "overlay.png").convert("RGB")).astype(int)
    size = photographed.scene.views[0].image().shape[:2]
    first = sheet[: size[0], : size[1]][photographed.masks["ball"][0]]
    assert (first[:, 1] > first[:, 0]).mean() > 0.5  # the ball is red
    command_line.succeeds("export", "box", *one, "--output", "box.json")
    (entry,) = json.loads((command_line.folder / "box.json").read_text())["objects"]
    assert entry["color"] == color
    manifest = json.loads((command_line.folder / "box.json.manifest.json").read_text())
    assert manifest["objects"][0]["color"] == color
    command_line.succeeds("export", "masks", *one, "--output", "c.json", "--layout", "coco")
    (category,) = json.loads((command_line.folder / "c.json").read_text())["categories"]
    assert category["color"] == color


def test_an_object_keeps_its_color_when_others_change(command_line, both):
    twin = objects(both)["twin"].color
    command_line.succeeds("objects", "delete", "ball", "--segmentation", both)
    assert objects(both)["twin"].color == twin == object_color(1)


def test_delete_to_another_folder(command_line, both):
    before = files(both)
    arguments = ("objects", "delete", "twin", "--segmentation", both, "--output", "fewer")
    command_line.succeeds(*arguments)
    assert files(both) == before
    assert list(objects(command_line.folder / "fewer")) == ["ball"]
    assert "exists" in command_line.refuses(*arguments)


def test_add(command_line, ball, photographed):
    before = objects(ball)
    click = ("--view", "frame_00003", "--points", "62,36")
    out = command_line.succeeds("objects", "add", "crate", *click, "--segmentation", ball)
    assert "objects: ball, crate" in out
    after = objects(ball)
    assert f"crate: {after['crate'].verdict}" in out
    for name in ("object", "total"):
        mine, kept = (getattr(one["ball"].evidence, name) for one in (before, after))
        assert torch.equal(mine, kept)
    assert after["ball"].color == before["ball"].color != after["crate"].color
    with Image.open(ball / "masks/crate/00000.png") as picture:
        assert iou(np.asarray(picture) > 0, photographed.masks["crate"][0]) > 0.8


def test_merge(command_line, both):
    before = objects(both)["ball"]
    out = command_line.succeeds(
        "objects", "merge", "ball", "twin", "--into", "pair", "--segmentation", both
    )
    assert "pair: merged from ball, twin" in out
    (pair,) = objects(both).values()
    for index, record in before.views.items():
        if record.outcome in ("prompted", "accepted"):
            mine, merged = record.mask, pair.views[index].mask
            assert mine is not None
            assert merged is not None
            np.testing.assert_array_equal(merged, mine)


def test_split_by_a_painted_part(command_line, both, photographed):
    exact = photographed.masks["ball"][0]
    half = exact.copy()
    half[:, int(np.nonzero(exact)[1].mean()) :] = False
    Image.fromarray(half.astype(np.uint8) * 255).save(command_line.folder / "half.png")
    twin = objects(both)["twin"].evidence.object
    out = command_line.succeeds(
        *("objects", "split", "ball", "--new", "left", "--view", "frame_00000"),
        *("--mask", "half.png", "--segmentation", both),
    )
    made = objects(both)
    assert list(made) == ["ball", "left", "twin"]
    assert "left was split off" in out
    assert len({one.color for one in made.values()}) == 3
    assert torch.equal(made["twin"].evidence.object, twin)
    left, rest = made["left"].views[0].mask, made["ball"].views[0].mask
    assert left is not None
    assert rest is not None
    assert (left & half).any()
    assert not (left & rest).any()


def test_a_refused_action_changes_nothing(command_line, both):
    before = files(both)
    click = ("--view", "frame_00000", "--points", "1,1")
    for message, arguments in (
        ("no object 'x'", ("rename", "x", "y")),
        ("already", ("rename", "ball", "twin")),
        ("invalid object name", ("rename", "ball", "a/b")),
        ("no object 'x'", ("merge", "ball", "x", "--into", "y")),
        ("two objects", ("merge", "ball", "--into", "y")),
        ("no object 'x'", ("delete", "x")),
        ("name at least one object", ("delete",)),
        ("no object 'x'", ("color", "x", "#ffffff")),
        ("invalid color 'green'", ("color", "ball", "green")),
        ("from 0 to 255", ("color", "ball", "256,0,0")),
        ("no object would be left", ("delete", "ball", "twin")),
        ("already", ("add", "twin", *click)),
        ("no view is called 'x'", ("add", "new", "--view", "x", "--points", "1,1")),
        ("no prompt given", ("add", "new")),
        ("already", ("split", "ball", "--new", "twin", *click)),
        ("nothing of 'ball'", ("split", "ball", "--new", "part", *click)),
        ("no prompt given", ("split", "ball", "--new", "part")),
    ):
        line = command_line.refuses("objects", *arguments, "--segmentation", both)
        assert message in line
    assert files(both) == before


def test_the_longest_name_can_be_exported(command_line, ball):
    longest = "ü" * 100
    command_line.succeeds("objects", "rename", "ball", longest, "--segmentation", ball)
    small = ("--mesh.texture-size", "16", "--mesh.samples-per-voxel", "1")
    for kind, output, *options in (
        ("masks", "masks"),
        ("pointcloud", "clouds"),
        ("box", "boxes"),
        ("masks", f"{longest}_masks"),
        ("mesh", f"{longest}.obj", *small),
    ):
        export = ("export", kind, "--segmentation", ball, "--output", output, *options)
        command_line.succeeds(*export)
