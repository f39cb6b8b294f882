"""``sa3d`` from prompts to files, on an analytic scene."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple  # noqa: UP035

import numpy as np
import pytest
import trimesh
import tyro
from PIL import Image

from nerfstudio_plugin.cli import COMMANDS
from nerfstudio_plugin.exports import KINDS
from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.objects.checkpoint import load_segmentation
from sa3d.testing.analytic_scene import BALL

HELPS = [[name] for name in COMMANDS] + [["export", kind] for kind in KINDS]


def read_image(path):
    with Image.open(path) as image:
        image.load()
        return image


def read_masks(folder):
    return [np.asarray(read_image(path)) for path in sorted(folder.glob("*.png"))]


def test_overview_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys; from nerfstudio_plugin.cli import main; assert main(['--help']) == 0;"
        "print({'torch', 'nerfstudio', 'tyro'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"\n  {name} " in out.stdout for name in COMMANDS)
    assert out.stdout.endswith("set()\n")


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_has_options_and_example(command_line, command):
    out = command_line.succeeds(*command, "--help")
    assert "sa3d " + " ".join(command) in out
    assert "--" in out


def test_version(command_line):
    assert command_line.succeeds("--version").startswith("sa3d ")


def test_segment_writes_a_segmentation_that_fits(command_line, photographed):
    out = command_line.succeeds(*command_line.segment_ball("seg/ball", "--json", "report.json"))
    chosen, header, first, *_ = out.splitlines()
    assert chosen.startswith("segmenter: graphcut")
    assert header.split() == [
        "object", "round", "flips", "accepted", "rejected", "agreement", "unvoted", "s"
    ]  # fmt: skip
    assert first.split()[:2] == ["ball", "1"]
    folder = command_line.folder / "seg/ball"
    saved = load_segmentation(folder)
    assert saved.provenance["settings"]["segmenter"] == "graphcut"
    report = json.loads((folder / "results.json").read_text())
    assert report == json.loads((command_line.folder / "report.json").read_text())
    views = report["objects"][0]["views"]
    assert views["frame_00000.png"]["outcome"] == "prompted"
    assert len(views) == 12
    assert report["objects"][0]["rounds"][0]["flips"] == int(first.split()[2])
    assert read_image(folder / "overlay.png").width == 4 * 96
    command_line.succeeds("export", "masks", "--segmentation", folder, "--output", "masks")
    masks = read_masks(command_line.folder / "masks/ball")
    assert {m.shape for m in masks} == {(72, 96)}
    assert set(np.unique(masks)) == {0, 255}
    assert mean_iou_over_views([m > 0 for m in masks], photographed.masks["ball"]) > 0.85


def test_points_may_be_written_either_way_and_labelled(command_line):
    click = ("--view", "frame_00000.png", "--labels", "1", "0", "--points")
    command_line.succeeds(*command_line.segment("a", *click, "52,34", "20,60"))
    command_line.succeeds(*command_line.segment("b", *click, "52", "34", "20", "60"))
    first, second = (
        json.loads((command_line.folder / n / "results.json").read_text()) for n in "ab"
    )
    prompt = first["objects"][0]["prompts"][0]
    assert prompt["points"] == [[52, 34], [20, 60]]
    assert prompt["labels"] == [1, 0]
    assert prompt == second["objects"][0]["prompts"][0]


def test_several_objects_by_box_and_mask(command_line, photographed):
    crate = photographed.masks["crate"][3]
    Image.fromarray(crate).save(command_line.folder / "crate.png")
    y, x = np.nonzero(photographed.masks["ball"][5])
    box = [int(x.min()), int(y.min()), int(x.max()), int(y.max())]
    prompts = [
        {"object": "crate", "view": "frame_00003.png", "mask": "crate.png"},
        {"object": "ball", "view": "frame_00005.png", "box": box},
    ]
    (command_line.folder / "prompts.json").write_text(json.dumps({"prompts": prompts}))
    command_line.succeeds(*command_line.segment("two", "--prompts", "prompts.json"))
    report = json.loads((command_line.folder / "two/results.json").read_text())
    assert [one["name"] for one in report["objects"]] == ["crate", "ball"]
    command_line.succeeds("export", "masks", "--segmentation", "two", "--output", "masks")
    for name in ("crate", "ball"):
        masks = [mask > 0 for mask in read_masks(command_line.folder / "masks" / name)]
        assert mean_iou_over_views(masks, photographed.masks[name]) > 0.7


@pytest.mark.parametrize("kind", ["mesh", "pointcloud"])
def test_export_3d_in_both_frames(command_line, ball, kind):
    def centre(name, *more):
        arguments = ("export", kind, "--segmentation", ball, "--output", name, "--json", "r.json")
        command_line.succeeds(*arguments, *more)
        report = json.loads((command_line.folder / "r.json").read_text())
        assert report["files"]["ball"]["file"] == name
        return trimesh.load(command_line.folder / name).bounds.mean(axis=0)

    world = centre("world.ply", "--frame", "nerfstudio")
    np.testing.assert_allclose(world, BALL.center, atol=0.06)
    x, y, z = 2 * np.array(BALL.center) - [0.1, 0.2, 0.3]  # p = (R q + t) / 2
    np.testing.assert_allclose(centre("own.ply"), [y, -x, z], atol=0.12)


@pytest.mark.parametrize("kind", ["pointcloud --format pcd", "box"])
def test_several_objects_in_a_file_or_a_file_each(command_line, ball, kind):
    kind, *more = kind.split()
    suffix = ".pcd" if more else ".json"
    command_line.succeeds("export", kind, "--segmentation", ball, "--output", "each", *more)
    command_line.succeeds("export", kind, "--segmentation", ball, "--output", f"all{suffix}")
    (each,) = (command_line.folder / "each").glob(f"*l{suffix}")
    assert each.name == f"ball{suffix}"
    assert each.read_bytes() == (command_line.folder / f"all{suffix}").read_bytes()
    manifest = json.loads((command_line.folder / f"all{suffix}.manifest.json").read_text())
    assert (manifest["kind"], manifest["frame"]["name"]) == (kind, "original")
    assert manifest["result"]


@dataclass
class ObbFlags:
    """The flags of ``ns-export pointcloud``, copied: importing that takes half a minute."""

    obb_center: Optional[Tuple[float, float, float]] = None  # noqa: UP006, UP045
    obb_rotation: Optional[Tuple[float, float, float]] = None  # noqa: UP006, UP045
    obb_scale: Optional[Tuple[float, float, float]] = None  # noqa: UP006, UP045


def test_box_prints_flags_that_ns_export_understands(command_line, ball):
    out = command_line.succeeds("export", "box", "--segmentation", ball, "--output", "b.json")
    exporter = importlib.util.find_spec("nerfstudio.scripts.exporter").origin
    declared = Path(exporter).read_text()
    for flag in ("obb_center", "obb_rotation", "obb_scale"):
        assert f"\n    {flag}: Optional[Tuple[float, float, float]] = None\n" in declared
    flags = next(line.split() for line in out.splitlines() if "--obb_center" in line)
    parsed = tyro.cli(ObbFlags, args=flags)
    np.testing.assert_allclose(parsed.obb_center, BALL.center, atol=0.06)  # the run's world
    np.testing.assert_allclose(parsed.obb_scale, [2 * BALL.radius] * 3, atol=0.15)
    entry = json.loads((command_line.folder / "b.json").read_text())["objects"][0]
    x, y, z = 2 * np.array(BALL.center) - [0.1, 0.2, 0.3]  # p = (R q + t) / 2
    np.testing.assert_allclose(entry["center"], [y, -x, z], atol=0.12)


def test_meshes_in_a_folder_and_their_reports(command_line, ball):
    mesh = ("export", "mesh", "--segmentation", ball, "--output", "meshes")
    small = ("--mesh.faces", "2000", "--mesh.texture-size", "64")
    out = command_line.succeeds(*mesh, *small, "--json", "r.json")
    assert "watertight" in out
    loaded = trimesh.load_mesh(command_line.folder / "meshes/ball.glb")
    assert max(loaded.visual.material.baseColorTexture.size) < 128
    manifest = json.loads((command_line.folder / "meshes/ball.glb.manifest.json").read_text())
    numbers = json.loads((command_line.folder / "r.json").read_text())["files"]["ball"]
    assert manifest["result"].items() >= {k: v for k, v in numbers.items() if k != "file"}.items()
    assert (numbers["watertight"], numbers["components"], numbers["euler"]) == (True, 1, 2)
    assert numbers["volume"] == pytest.approx(8 * 4 / 3 * np.pi * BALL.radius**3, rel=0.2)
    command_line.succeeds(*mesh, *small, "--format", "obj")
    manifest = json.loads((command_line.folder / "meshes/ball.obj.manifest.json").read_text())
    assert manifest["files"] == ["ball.obj", "ball.mtl", "ball.png"]
    (command_line.folder / "meshes/ball.obj").unlink()
    line = command_line.refuses(*mesh, "--format", "obj")
    assert line.startswith("error: meshes/ball.mtl exists")


@pytest.mark.parametrize(("kind", "mode"), [("mask", "L"), ("overlay", "RGB"), ("object", "RGBA")])
def test_render_photos(command_line, ball, kind, mode):
    command_line.succeeds(
        "render", "--segmentation", ball, "--kind", kind, "--views", "frame_00002", "--output", "p"
    )
    picture = read_image(command_line.folder / "p/ball/frame_00002.png")
    assert (picture.mode, picture.size) == (mode, (96, 72))


def test_render_along_a_camera_path_as_video(command_line, ball, photographed):
    frames = []
    for view in photographed.scene.views[:3]:
        pose = [*view.camera.c2w.reshape(-1).tolist(), 0, 0, 0, 1]
        frames.append({"camera_to_world": pose, "fov": 53, "aspect": 4 / 3})
    path = {"render_width": 64, "render_height": 48, "fps": 5, "camera_path": frames}
    (command_line.folder / "path.json").write_text(json.dumps(path))
    out = command_line.succeeds(
        "render", "--segmentation", ball, "--camera-path", "path.json", "--output", "o.mp4"
    )
    assert "3 pictures" in out
    assert (command_line.folder / "o.mp4").stat().st_size > 500


def test_info_of_segmentation_cache_and_run(command_line, ball):
    assert "ball: " in command_line.succeeds("info", ball)
    out = command_line.succeeds("info", command_line.folder / "sa3d_cache")
    assert "12 of 12 views prepared" in out
    assert "12 photos encoded for graphcut" in out
    (command_line.folder / "config.yml").touch()
    out = command_line.succeeds("info", "config.yml", "--json", "i.json")
    assert "nerfacto run" in out
    assert len(json.loads((command_line.folder / "i.json").read_text())["views"]) == 12


def test_preparing_again_finds_all_views_cached(command_line):
    prepare = ("prepare", "--load-config", "config.yml", "--json", "p.json")
    assert "12 views prepared (0 were before)" in command_line.succeeds(*prepare)
    assert "12 views prepared (12 were before)" in command_line.succeeds(*prepare)
    assert json.loads((command_line.folder / "p.json").read_text())["cached"] == 12


def test_options_win_over_the_preset(command_line):
    (command_line.folder / "mine.toml").write_text(
        "[prepare]\nresolution = 50\nray_side = 40\n[loop.convergence]\nmax_rounds = 1\n"
    )
    command_line.succeeds(
        *command_line.segment_ball("s", "--config", "mine.toml", "--prepare.resolution", "60")
    )
    saved = load_segmentation(command_line.folder / "s")
    assert saved.provenance["settings"]["prepare"]["resolution"] == 60
    assert saved.provenance["settings"]["prepare"]["ray_side"] == 40
    assert len(saved.segmentation.objects["ball"].rounds) == 1
