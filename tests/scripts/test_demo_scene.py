"""The shipped demo scenes: complete, consistent with their cameras, and reproducible."""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")

from PIL import Image  # noqa: E402
from scipy.ndimage import distance_transform_edt  # noqa: E402
from skimage.morphology import skeletonize  # noqa: E402

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from demo_scene import VARIANTS, make, train  # noqa: E402
from demo_scene.room import ROOM_CEILING, ROOM_HALF_WIDTH  # noqa: E402
from demo_scene.still_life import FLOOR  # noqa: E402
from demo_scene.tracer import RayTracer  # noqa: E402

SCENES = ROOT / "nerfstudio_plugin" / "demo_scenes"
TOUCHING = {"room": ("bottle", "book"), "garden": ("jug", "parcel")}
THIN = {"room": "candlestick", "garden": "hoop"}
VIEWS, HEIGHT, WIDTH = 48, 256, 320

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Scene:
    """One variant as it lies on disk, read without the code that wrote it."""

    def __init__(self, variant: str):
        self.variant = variant
        self.folder = SCENES / variant
        self.transforms = json.loads((self.folder / "transforms.json").read_text())
        records = json.loads((self.folder / "objects.json").read_text())["objects"]
        self.objects = {record["name"]: record for record in records}
        self.masks = {
            name: np.stack(
                [
                    np.asarray(Image.open(self.folder / "masks_gt" / name / f"{k:03d}.png"))
                    for k in range(VIEWS)
                ]
            )
            for name in self.objects
        }

    def mesh(self, name: str):
        return trimesh.load_mesh(self.folder / "meshes" / f"{name}.ply")

    def project(self, points: np.ndarray, view: int) -> np.ndarray:
        """Pixel-index coordinates `[N, 2]` of world points: pixel k's centre is at k."""
        t = self.transforms
        pose = np.array(t["frames"][view]["transform_matrix"])
        x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).T
        columns = (t["cx"] + t["fl_x"] * x / -z, t["cy"] + t["fl_y"] * y / z)
        return np.stack(columns, axis=1) - 0.5

    def box(self, name: str, view: int) -> np.ndarray:
        """First and last pixel (x, y) of a mask, `[2, 2]`."""
        ys, xs = np.nonzero(self.masks[name][view])
        return np.array([[xs.min(), ys.min()], [xs.max(), ys.max()]])

    def clear_views(self, name: str) -> list[int]:
        """Views that show the whole object, unhidden and uncut."""
        shares = self.objects[name]["visible_share"]
        limit = np.array([WIDTH, HEIGHT]) - 2
        return [
            k
            for k in range(VIEWS)
            if shares[k] == 1.0
            and (self.box(name, k)[0] > 0).all()
            and (self.box(name, k)[1] <= limit).all()
        ]


@pytest.fixture(scope="module", params=tuple(VARIANTS))
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


@pytest.fixture(scope="module")
def tracer(scene: Scene) -> RayTracer:
    still_life = VARIANTS[scene.variant]()
    return RayTracer(still_life.bodies, still_life.lights, still_life.ambient)


def test_pictures_and_masks_are_complete(scene: Scene) -> None:
    frames = scene.transforms["frames"]
    assert [frame["file_path"] for frame in frames] == [f"images/{k:03d}.jpg" for k in range(VIEWS)]
    for frame in frames:
        with Image.open(scene.folder / frame["file_path"]) as image:
            assert (image.size, image.mode) == ((WIDTH, HEIGHT), "RGB")
    assert len(scene.objects) >= {"room": 6, "garden": 5}[scene.variant]
    masks = np.stack(list(scene.masks.values()))
    assert masks.shape == (len(scene.objects), VIEWS, HEIGHT, WIDTH)
    assert (masks != 0).sum(axis=0).max() == 1, "two objects claim the same pixel"
    assert sorted(p.name for p in (scene.folder / "masks_gt").iterdir()) == sorted(scene.objects)


def test_cameras_lie_on_a_dome_around_the_table(scene: Scene) -> None:
    poses = np.array([f["transform_matrix"] for f in scene.transforms["frames"]])
    rotations, positions = poses[:, :3, :3], poses[:, :3, 3]
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.eye(3)[None].repeat(VIEWS, 0), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-9)
    elevation = np.degrees(np.arcsin(positions[:, 2] / np.linalg.norm(positions, axis=1)))
    assert elevation.min() < 20
    assert elevation.max() > 60
    azimuth = np.sort(np.degrees(np.arctan2(positions[:, 1], positions[:, 0])))
    assert np.diff(azimuth, append=azimuth[0] + 360).max() < 20


def test_masks_agree_with_cameras_and_meshes(scene: Scene) -> None:
    for name, record in scene.objects.items():
        mesh = scene.mesh(name)
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(record["volume"], rel=1e-3)
        np.testing.assert_allclose(mesh.center_mass, record["centroid"], atol=1e-3)
        views = scene.clear_views(name)
        assert len(views) >= 8, f"{name} is hidden too often"
        for view in views:
            box = scene.box(name, view)
            (centroid,) = scene.project(np.array([record["centroid"]]), view)
            assert (centroid >= box[0]).all(), (name, view)
            assert (centroid <= box[1]).all(), (name, view)
            outline = scene.project(mesh.vertices, view)
            extent = np.stack([outline.min(axis=0), outline.max(axis=0)])
            assert np.abs(extent - box).max() < 2.0, (name, view)


def test_a_wrong_camera_would_be_noticed(scene: Scene) -> None:
    """The tolerance above is tight enough to see the principal point off by three pixels."""
    name = THIN[scene.variant]
    view = scene.clear_views(name)[0]
    outline = scene.project(scene.mesh(name).vertices, view) + np.array([3.0, 0.0])
    extent = np.stack([outline.min(axis=0), outline.max(axis=0)])
    assert np.abs(extent - scene.box(name, view)).max() >= 2.0


def test_default_prompts_point_at_the_object(scene: Scene) -> None:
    for name, record in scene.objects.items():
        prompt = record["prompt"]
        view = int(Path(prompt["view"]).stem)
        mask = scene.masks[name][view]
        assert np.reshape(prompt["box"], (2, 2)).tolist() == scene.box(name, view).tolist()
        assert prompt["labels"] == [1] * len(prompt["points"])
        assert all(mask[y, x] for x, y in prompt["points"]), name
        assert record["visible_share"][view] > 0.9, name
        assert np.diff(scene.box(name, view), axis=0).max() >= 40, name


def test_objects_hide_each_other_and_two_touch(scene: Scene) -> None:
    shares = np.array([record["visible_share"] for record in scene.objects.values()])
    assert (shares < 0.5).sum() >= 8
    assert ((shares < 0.8).sum(axis=1) >= 8).any(), "nothing is hidden in many views"
    first, second = (scene.mesh(name) for name in TOUCHING[scene.variant])
    _, gap, _ = trimesh.proximity.closest_point(second, first.vertices)
    assert gap.min() < 0.002
    apart = scene.mesh(THIN[scene.variant])
    _, gap, _ = trimesh.proximity.closest_point(second, apart.vertices)
    assert gap.min() > 0.05


def test_one_object_is_thin_but_no_hairline(scene: Scene) -> None:
    name = THIN[scene.variant]
    widths = []
    for view in scene.clear_views(name):
        mask = scene.masks[name][view] != 0
        widths.append(np.median(2.0 * distance_transform_edt(mask)[skeletonize(mask)]))
    assert 5.0 <= np.median(widths) <= 9.0


def test_script_reproduces_a_view(scene: Scene, tracer: RayTracer) -> None:
    view = 20
    camera = make.dome_cameras(make.Options().seed)[view]
    shot = Image.open(scene.folder / "images" / f"{view:03d}.jpg")
    stored = np.asarray(shot, dtype=float)
    difference = np.abs(tracer.render(camera) - stored)
    assert difference.mean() < 1.5
    assert np.quantile(difference, 0.999) < 20
    instances = tracer.instances(camera)
    for index, body in enumerate(tracer.bodies):
        if body.is_object:
            mask = scene.masks[body.name][view] != 0
            assert ((instances == index) != mask).sum() <= 3, body.name
            share = mask.sum() / tracer.silhouette(body.name, camera).sum()
            stored_share = scene.objects[body.name]["visible_share"][view]
            assert share == pytest.approx(stored_share, abs=0.01)
    moved = replace(camera, cx=camera.cx + 2.0)
    assert np.abs(tracer.render(moved) - stored).mean() > 1.5


def test_every_ray_of_the_room_hits_and_the_garden_reaches_far(
    scene: Scene, tracer: RayTracer
) -> None:
    for view in (0, 10, 47):
        camera = make.dome_cameras(make.Options().seed)[view]
        assert (tracer.instances(camera) >= 0).all()
    extents = {body.name: body.mesh.extents[:2].max() for body in tracer.bodies}
    widest = max(extents.values()) / extents["table_top"]
    assert widest > 50 if scene.variant == "garden" else widest < 4


def test_room_lies_inside_the_scene_box() -> None:
    saved = json.loads((SCENES / "room" / "run" / "dataparser_transforms.json").read_text())
    matrix, scale = np.array(saved["transform"]), saved["scale"]
    x, y, z = np.meshgrid(
        [-ROOM_HALF_WIDTH, ROOM_HALF_WIDTH],
        [-ROOM_HALF_WIDTH, ROOM_HALF_WIDTH],
        [FLOOR, ROOM_CEILING],
    )
    corners = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    inside = scale * (corners @ matrix[:, :3].T + matrix[:, 3])
    assert 0.9 < np.abs(inside).max() < 1.0


def test_run_is_slim_and_renders_well(scene: Scene) -> None:
    run = scene.folder / "run"
    (checkpoint,) = (run / "nerfstudio_models").glob("step-*.ckpt")
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    assert set(saved) == {"step", "pipeline", "optimizers", "schedulers", "scalers"}
    assert f"step-{saved['step']:09d}.ckpt" == checkpoint.name
    assert any(key.endswith("hash_table") for key in saved["pipeline"])
    assert not any("lpips" in key for key in saved["pipeline"])
    measured = json.loads((run / "psnr.json").read_text())
    assert len(measured["views"]) >= 4
    assert measured["mean_psnr"] >= 24.0
    assert measured["mean_psnr"] == pytest.approx(np.mean([v["psnr"] for v in measured["views"]]))


def test_files_are_small_and_hold_no_absolute_path() -> None:
    files = [path for path in SCENES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 18e6
    for path in files:
        assert path.stat().st_size < (1e5 if path.suffix == ".ply" else 8e6), path
    texts = [path for path in files if path.suffix in {".json", ".yml"}]
    assert {path.name for path in texts} >= {"transforms.json", "objects.json", "config.yml"}
    for path in texts:
        for line in path.read_text().splitlines():
            # A YAML list item "- /" is how an absolute pathlib path is written.
            assert line.strip() != "- /", path
            assert not any(root in line for root in ("/home", "/root", "/tmp", "/work")), line


def test_the_runs_were_trained_as_the_script_says(scene: Scene) -> None:
    """The shipped config holds the very values of the script's command line."""
    config = (SCENES / scene.variant / "run" / "config.yml").read_text()
    assert f"max_num_iterations: {train.STEPS}\n" in config
    arguments = [
        *train.TRAINER_ARGUMENTS,
        *train.MODEL_ARGUMENTS[scene.variant],
    ]
    checked = 0
    for option, value in itertools.pairwise(arguments):
        key = option.rsplit(".", 1)[-1].replace("-", "_")
        if option.startswith("--pipeline.model.") and value[0].isdigit() and "proposal" not in key:
            assert f"    {key}: {value}\n" in config, option
            checked += 1
    assert checked >= 5
