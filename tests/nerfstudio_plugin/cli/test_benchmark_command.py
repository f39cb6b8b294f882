"""``sa3d benchmark``: cases of every layout, and their measures, on the analytic scene."""

import json

import numpy as np
import pytest
from PIL import Image

import sa3d
from nerfstudio_plugin.benchmark.cases import HOLD_OUT, data_cases, demo_cases
from nerfstudio_plugin.benchmark.protocols import GOAL, measure
from nerfstudio_plugin.cli.benchmark import FULL, QUICK, USUAL
from nerfstudio_plugin.demo.data import open_demo
from sa3d.base.errors import SA3DError
from sa3d.base.mask_overlap import iou
from sa3d.evaluation.simulated_user import box_of
from sa3d.loop.settings import Settings
from sa3d.scene.config import PrepareConfig
from sa3d.scene.views import View

COARSE = Settings(segmenter="graphcut", prepare=PrepareConfig(resolution=40))


def save(path, mask, scale=1, value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask[::scale, ::scale].astype(np.uint8) * value).save(path)


@pytest.fixture
def runs(tmp_path):
    for time in ("2024-01-01_000000", "2024-02-01_000000"):
        (tmp_path / "runs/ball/nerfacto" / time).mkdir(parents=True)
        (tmp_path / "runs/ball/nerfacto" / time / "config.yml").touch()
    return tmp_path / "runs"


@pytest.fixture
def nvos(tmp_path, photographed):
    """A data set in NVOS's layout: a target's mask, a reference's scribbles at half the size."""
    labels, exact = tmp_path / "nvos/labels/llff", photographed.masks["ball"]
    save(labels / "masks/ball_left/frame_00003_mask.png", exact[3])
    save(labels / "masks/ball_left/frame_00003.JPG", exact[3])
    save(labels / "reference_image/ball_left/frame_00000.JPG", exact[0])
    rows = np.zeros_like(exact[0])
    rows[30:38] = True
    save(labels / "scribbles/ball_left/pos_0_ball.png", exact[0] & rows, scale=2)
    save(labels / "scribbles/ball_left/neg_0_ball.png", rows & ~exact[0], scale=2)
    return tmp_path / "nvos"


def test_nvos_clicks_lie_on_its_scribbles(nvos, runs, photographed):
    [case] = data_cases("nvos", nvos, runs, seed=0)
    assert (case.scene, case.reference, case.targets) == (
        "ball_left",
        "frame_00000",
        ("frame_00003",),
    )
    assert "2024-02-01" in str(case.load_config)  # of horns_left and horns_center the run of horns
    views, exact = photographed.scene.views, photographed.masks["ball"]
    [prompt] = case.prompts(views)
    assert {1, 0} == set(prompt.labels)
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        assert exact[0][int(y), int(x)] == label
    assert case.prompts(views) == [prompt]
    others = [data_cases("nvos", nvos, runs, seed=seed)[0].prompts(views) for seed in (1, 2, 3)]
    assert any(other != [prompt] for other in others)
    [(index, mask)] = case.exact_masks(views).items()
    assert index == 3
    np.testing.assert_array_equal(mask, exact[3])


def test_spin_nerf_has_a_mask_per_view_and_other_files(tmp_path, runs, photographed):
    exact, views = photographed.masks["ball"], photographed.scene.views
    for index in range(12):
        save(tmp_path / f"spin/ball/frame_{index:05d}.png", exact[index], value=1)
        save(tmp_path / f"spin/ball/frame_{index:05d}_cutout.png", exact[index])
        save(tmp_path / f"spin/ball/frame_{index:05d}_pseudo.png", exact[index])
        save(tmp_path / f"spin/attic/frame_{index:05d}.png", exact[index])  # has no run
    [case] = data_cases("spin-nerf", tmp_path / "spin", runs, seed=0)
    assert (case.scene, case.reference) == ("ball", "frame_00000")
    assert case.targets == ("frame_00008",)
    assert case.prompts(views)[0].box == box_of(exact[0])
    found = case.exact_masks(views)
    assert list(found) == list(range(12))
    assert all(np.array_equal(found[i], exact[i]) for i in range(12))


@pytest.mark.parametrize("below", ["ball", ""])
def test_folders_of_masks(tmp_path, runs, photographed, below):
    exact = photographed.masks["ball"]
    for index in (2, 5):
        save(tmp_path / "data/ball/masks_gt" / below / f"frame_{index:05d}.png", exact[index])
    [case] = data_cases("folders", tmp_path / "data", runs, seed=0)
    assert case.object == (below or "object")
    largest = max((2, 5), key=lambda index: exact[index].sum())
    assert case.reference == f"frame_{largest:05d}"
    assert case.data == tmp_path / "data/ball"
    assert len(case.targets) == 1  # of two views the one that is not prompted
    assert case.targets != (case.reference,)


def test_masks_that_cannot_be_read(tmp_path, runs):
    broken = tmp_path / "data/ball/masks_gt/frame_00000.png"
    broken.parent.mkdir(parents=True)
    broken.write_text("no picture")
    with pytest.raises(SA3DError, match=r"cannot read the mask .*frame_00000\.png"):
        data_cases("folders", tmp_path / "data", runs, seed=0)


def test_frozen_lists_name_existing_objects():
    for objects in (QUICK, USUAL, FULL):
        for scene, names in objects.items():
            assert set(names) <= set(open_demo(scene).prompts)
    case = demo_cases({"room": ["mug"]})[0]
    assert case.reference not in case.targets
    assert len(case.targets) >= len(case.masks) // HOLD_OUT
    with pytest.raises(SA3DError, match="no object 'bell' in room"):
        demo_cases({"room": ["bell"]})


@pytest.fixture
def opened(small_demo, saved_ball):
    scene = sa3d.open("config.yml", COARSE, cache_dir=saved_ball / "sa3d_cache")
    scene.prepare()
    return scene


def test_unseen_photos_are_never_read(opened, photographed, monkeypatch):
    [case] = demo_cases({"room": ["ball"]})
    assert case.targets == ("frame_00008",)
    seen = set()
    image = View.image
    monkeypatch.setattr(View, "image", lambda view: seen.add(view.name) or image(view))
    unseen = measure(opened, case, "unseen")
    names = {view.name for view in opened.scene.views}
    assert names - seen == {"frame_00008.png"}
    assert (unseen.views, unseen.clicks, unseen.error) == (1, 1, "")
    assert unseen.iou == unseen.worst > 0.8
    assert unseen.accuracy > 0.95
    assert unseen.boundary > 0.5
    visible = measure(opened, case, "visible")
    assert seen == names  # so the check above can fail
    assert visible.views == 11


def test_numbers_are_those_of_the_masks(opened, photographed):
    [case] = demo_cases({"room": ["ball"]})
    row = measure(opened, case, "visible")
    ball = opened.segment(prompts=case.prompts(opened.scene.views), name="ball")
    exact = photographed.masks["ball"]
    masks = list(ball.masks(refine=False).values())
    ious = [iou(masks[i], exact[i]) for i in range(1, 12)]
    assert row.iou == pytest.approx(np.mean(ious))
    assert row.worst == min(ious)
    assert row.accuracy == pytest.approx(np.mean([masks[i] == exact[i] for i in range(1, 12)]))


def test_a_simulated_user_corrects(opened):
    [case] = demo_cases({"room": ["crate"]})
    alone = measure(opened, case, "visible")
    corrected = measure(opened, case, "visible", corrections=1)
    assert alone.clicks == 1
    assert corrected.clicks == (1 if alone.iou >= GOAL else 2)
    assert corrected.seconds.keys() == {"segment", "masks"}


def test_a_failed_segmentation_is_a_row_with_an_error(opened, photographed):
    [case] = demo_cases({"room": ["ball"]})
    nothing = demo_cases({"room": ["ball"]})[0]
    object.__setattr__(
        nothing, "prompts", lambda _: [sa3d.Prompt("frame_00000", "ball", ((500.0, 1.0),), (1,))]
    )
    row = measure(opened, nothing, "visible")
    assert row.iou == 0
    assert "outside the image" in row.error
    object.__setattr__(case, "targets", ("frame_00000",))
    with pytest.raises(SA3DError, match="would not be unseen"):
        measure(opened, case, "unseen")


def test_command_writes_tables(small_demo, nvos, runs):
    nvos_options = ("--layout", "nvos", "--data", nvos, "--runs", runs)
    out = small_demo.succeeds("benchmark", *nvos_options, "--prepare.resolution", "40")
    folder = small_demo.folder / "benchmark_output"
    report = json.loads((folder / "results.json").read_text())
    assert [row["protocol"] for row in report["rows"]] == ["visible", "unseen"]
    assert report["rows"][0]["seconds"].keys() == {"open", "prepare", "segment", "masks"}
    for row in report["rows"]:
        assert row["iou"] > 0.6, row
        assert report["mean"][row["protocol"]]["iou"] == pytest.approx(row["iou"])
        assert f"| ball_left: object | {row['protocol']} | {row['iou']:.3f} |" in out
    assert (folder / "table.md").read_text() in out
    assert report["segmenter"] == "graphcut"


def test_a_stopped_benchmark_continues(small_demo, nvos, runs, monkeypatch):
    def stopped(opened, case, protocol, corrections):
        if protocol == "unseen":
            raise KeyboardInterrupt
        return measure(opened, case, protocol, corrections)

    options = ("--layout", "nvos", "--data", nvos, "--runs", runs, "--prepare.resolution", "40")
    monkeypatch.setattr("nerfstudio_plugin.benchmark.protocols.measure", stopped)
    small_demo.run("benchmark", *options)
    results = small_demo.folder / "benchmark_output/results.json"
    [first] = json.loads(results.read_text())["rows"]
    assert first["protocol"] == "visible"
    monkeypatch.setattr("nerfstudio_plugin.benchmark.protocols.measure", measure)
    small_demo.succeeds("benchmark", *options)
    rows = json.loads(results.read_text())["rows"]
    assert rows[0] == first  # with the seconds it took then: it was not measured again
    assert [row["protocol"] for row in rows] == ["visible", "unseen"]
    small_demo.succeeds("benchmark", *options, "--again")
    again = json.loads(results.read_text())["rows"]
    assert again[0]["seconds"] != first["seconds"]
    assert again[0]["iou"] == first["iou"]
    other = (*options, "--seed", "1")
    assert "measured with other seed: give another --output" in small_demo.refuses(
        "benchmark", *other
    )
    assert json.loads(results.read_text())["rows"] == again
    small_demo.succeeds("benchmark", *other, "--again")
    assert json.loads(results.read_text())["rows"][0]["seconds"] != again[0]["seconds"]


def test_unfit_options_are_refused(small_demo, nvos, runs):
    line = small_demo.refuses("benchmark", "--layout", "nvos", "--data", nvos)
    assert "needs --data and --runs" in line
    assert "give --layout" in small_demo.refuses("benchmark", "--data", nvos)
    with_runs = ("--layout", "nvos", "--data", nvos, "--runs")
    assert "nothing to measure" in small_demo.refuses("benchmark", *with_runs, nvos)
    for layout in ("spin-nerf", "folders"):
        absent = ("--layout", layout, "--data", "absent", "--runs", runs)
        assert "absent is not a folder" in small_demo.refuses("benchmark", *absent)
    line = small_demo.refuses("benchmark", *with_runs, runs, "--scenes", "attic")
    assert "no scene 'attic' to measure; there are: ball_left" in line
    line = small_demo.refuses("benchmark", "--quick", "--scenes", "garden")
    assert "no scene 'garden' to measure; there are: room" in line
    assert "must be at least 0, is -1" in small_demo.refuses("benchmark", "--corrections", "-1")
    unseen = ("--protocol", "unseen", "--corrections", "3")
    assert "with the visible protocol only" in small_demo.refuses("benchmark", *unseen)
    assert "leave one out" in small_demo.refuses("benchmark", "--quick", "--full")


def test_annotations_of_other_photos(nvos, runs, photographed):
    [case] = data_cases("nvos", nvos, runs, seed=0)
    others = photographed.scene.views[4:]
    with pytest.raises(SA3DError, match="no photo 'frame_00003', which the annotations name"):
        case.exact_masks(others)
