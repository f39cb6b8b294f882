from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

import sa3d.export.masks
from sa3d.base.errors import SA3DError
from sa3d.export.masks import (
    PhotoMasks,
    mask_names,
    write_coco,
    write_colmap_masks,
    write_cutouts,
    write_label_maps,
    write_masks,
)
from sa3d.geometry.camera import Camera
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.results.config import RefinementConfig
from sa3d.results.final_masks import final_mask, final_masks
from sa3d.results.mask_refinement import refined_masks
from sa3d.scene.views import View
from sa3d.testing.analytic_scene import AnalyticScene, spiral_camera

CAMERA: Camera = spiral_camera(0, 4, (8, 6))


@pytest.fixture
def masks(still_life: AnalyticScene, voted: Segmentation) -> PhotoMasks:
    return PhotoMasks(still_life.scene, voted, ("ball", "crate"))


def read(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == mode
        return np.asarray(image)


def test_one_file_per_image_and_object(
    still_life: AnalyticScene, voted: Segmentation, masks: PhotoMasks, tmp_path: Path
) -> None:
    folders = write_masks(masks, tmp_path)
    assert folders == [tmp_path / "ball", tmp_path / "crate"]
    for name, folder in zip(("ball", "crate"), folders, strict=True):
        assert len(list(folder.iterdir())) == len(still_life.scene.views)
        for index, view in enumerate(still_life.scene.views):
            mask, _ = final_mask(still_life.scene, voted, name, index)
            np.testing.assert_array_equal(read(folder / view.name, "L"), np.where(mask, 255, 0))


def test_a_view_is_computed_once_for_all_objects(
    masks: PhotoMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(scene: object, segmentation: object, index: int, config: object) -> object:
        asked.append(index)
        return refined_masks(scene, segmentation, index, config)  # type: ignore[arg-type]

    monkeypatch.setattr(sa3d.export.masks, "refined_masks", counted)
    write_masks(masks, tmp_path)
    assert asked == list(range(12))


def test_chosen_objects_and_overwrite(masks: PhotoMasks, tmp_path: Path) -> None:
    crate = replace(masks, names=("crate",))
    write_masks(crate, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["crate"]
    with pytest.raises(SA3DError, match="overwrite"):
        write_masks(masks, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["crate"]
    write_masks(crate, tmp_path, overwrite=True)
    (tmp_path / "crate" / "notes.txt").write_text("mine")
    with pytest.raises(SA3DError, match=r"notes\.txt"):
        write_masks(crate, tmp_path, overwrite=True)
    assert (tmp_path / "crate" / "notes.txt").exists()


def test_empty_or_unknown_objects_are_refused(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    nothing = replace(voted.object("ball"), evidence=Evidence.zeros(len(voted.elements)))
    empty = replace(voted, objects={"crate": voted.object("crate"), "ball": nothing})
    with pytest.raises(SA3DError, match="'ball' is empty"):
        PhotoMasks(still_life.scene, empty, ("crate", "ball"))
    with pytest.raises(SA3DError, match="no object 'cat'"):
        PhotoMasks(still_life.scene, voted, ("ball", "cat"))


@pytest.mark.parametrize(
    "write", [write_masks, write_cutouts, write_label_maps, write_colmap_masks]
)
def test_interruption_leaves_nothing(
    write, masks: PhotoMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def interrupted(path: Path, pixels: np.ndarray) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        written.append(path)

    monkeypatch.setattr(sa3d.export.masks, "write_png", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(masks, tmp_path / "out")
    assert len(written) == 3
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_cutouts_have_the_photo_and_the_mask(masks: PhotoMasks, tmp_path: Path) -> None:
    write_cutouts(masks, tmp_path)
    for index in (0, 7):
        view = masks.views[index]
        cutout = read(tmp_path / "crate" / view.name, "RGBA")
        np.testing.assert_array_equal(cutout[..., :3], view.image())
        np.testing.assert_array_equal(cutout[..., 3] > 0, masks.of_view(index)["crate"])


def test_cropped_cutouts_are_the_objects_box(
    masks: PhotoMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = np.zeros((36, 48), dtype=bool)
    shown[10:14, 20:27] = True
    shown[11, 22] = False

    def only_in_view_1(*arguments: object) -> dict[str, np.ndarray]:
        return {"ball": shown if arguments[2] == 1 else np.zeros_like(shown)}

    monkeypatch.setattr(sa3d.export.masks, "refined_masks", only_in_view_1)
    write_cutouts(replace(masks, names=("ball",)), tmp_path, crop=True)
    assert [path.name for path in (tmp_path / "ball").iterdir()] == [masks.views[1].name]
    cutout = read(tmp_path / "ball" / masks.views[1].name, "RGBA")
    np.testing.assert_array_equal(cutout[..., :3], masks.views[1].image()[10:14, 20:27])
    assert (cutout[..., 3] == 0).sum() == 1


def test_label_maps_number_the_objects(masks: PhotoMasks, tmp_path: Path) -> None:
    write_label_maps(masks, tmp_path / "labels")
    both = np.zeros(3, dtype=int)
    for index, view in enumerate(masks.views):
        labels = read(tmp_path / "labels" / view.name, "L")
        found = masks.of_view(index)
        np.testing.assert_array_equal(labels == 1, found["ball"])
        np.testing.assert_array_equal(labels == 2, found["crate"])
        both += np.bincount(labels.ravel(), minlength=3)
    assert both.min() > 100


def test_colmap_wants_the_suffix_twice(
    masks: PhotoMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [replace(view, name=f"left/{view.name}") for view in masks.views]
    monkeypatch.setattr(masks.scene, "views", views)
    write_colmap_masks(masks, tmp_path / "object")
    write_colmap_masks(masks, tmp_path / "rest", invert=True)
    name = f"masks/{views[3].name}.png"
    assert name == "masks/left/frame_00003.png.png"
    white = read(tmp_path / "object" / name, "L")
    found = masks.of_view(3)
    np.testing.assert_array_equal(white == 255, found["ball"] | found["crate"])
    np.testing.assert_array_equal(read(tmp_path / "rest" / name, "L"), 255 - white)


@pytest.mark.parametrize("write", [write_masks, write_cutouts, write_label_maps])
def test_the_photos_are_never_replaced(
    write, masks: PhotoMasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path if write is write_label_maps else tmp_path / "ball"
    folder.mkdir(exist_ok=True)
    (folder / "photo.png").write_bytes(b"mine")
    views = [replace(view, image_path=folder / "photo.png") for view in masks.views]
    monkeypatch.setattr(masks.scene, "views", views)
    with pytest.raises(SA3DError, match="folder of the photos"):
        write(masks, tmp_path, overwrite=True)
    assert (folder / "photo.png").read_bytes() == b"mine"


def test_refined_masks_stay_exclusive(masks: PhotoMasks) -> None:
    refined = replace(masks, refinement=RefinementConfig())
    for index in range(len(masks.views)):
        found = refined.of_view(index)
        assert not (found["ball"] & found["crate"]).any()
        plain = final_masks(masks.scene, masks.segmentation, index)
        for name, mask in found.items():
            changed = (mask ^ plain[name][0]).sum()
            assert changed < 0.15 * plain[name][0].sum()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.jpg", "2.JPG"], ["1.png", "2.png"]),
        (["left/1.jpg", "right/1.jpg"], ["left/1.png", "right/1.png"]),
        (["1.jpg", "1.png", "2.jpg"], ["1.jpg.png", "1.png.png", "2.png"]),
        (["../images/1.jpg"], ["images/1.png"]),
        (["a.b.jpg"], ["a.b.png"]),
    ],
)
def test_mask_names(names: list[str], expected: list[str]) -> None:
    views = [View(name, CAMERA, Path(name)) for name in names]
    assert mask_names(views) == [PurePosixPath(name) for name in expected]


def test_pycocotools_reads_back_the_same_masks(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    from pycocotools.coco import COCO

    masks = PhotoMasks(still_life.scene, voted, ("crate", "ball"))
    count = write_coco(masks, tmp_path / "all.json")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "all.json"))
    assert len(coco.getAnnIds()) == count > len(masks.views)
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["crate", "ball"]
    for index, image in enumerate(coco.loadImgs(coco.getImgIds())):
        view = masks.views[index]
        assert image["file_name"] == view.name
        assert (image["width"], image["height"]) == (view.camera.width, view.camera.height)
        expected = masks.of_view(index)
        for category, name in enumerate(("crate", "ball"), start=1):
            ids = coco.getAnnIds(imgIds=[image["id"]], catIds=[category])
            assert len(ids) == int(expected[name].any())
            for annotation in coco.loadAnns(ids):
                decoded = coco.annToMask(annotation).astype(bool)
                np.testing.assert_array_equal(decoded, expected[name])
                rows, columns = np.nonzero(decoded)
                assert annotation["area"] == len(rows)
                x, y, width, height = annotation["bbox"]
                assert (x, y) == (columns.min(), rows.min())
                assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())


def test_a_coco_file_is_replaced_only_with_overwrite(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    masks = PhotoMasks(still_life.scene, voted, ("ball",))
    (tmp_path / "all.json").write_text("mine")
    with pytest.raises(SA3DError, match="overwrite"):
        write_coco(masks, tmp_path / "all.json")
    assert (tmp_path / "all.json").read_text() == "mine"
    write_coco(masks, tmp_path / "all.json", overwrite=True)
    assert (tmp_path / "all.json").read_text() != "mine"


def test_more_objects_than_a_label_map_can_number_are_refused(
    masks: PhotoMasks, tmp_path: Path
) -> None:
    object.__setattr__(masks, "names", ("ball",) * 65536)
    with pytest.raises(SA3DError, match=r"16 bits .*: export fewer objects"):
        write_label_maps(masks, tmp_path / "labels")
    assert not (tmp_path / "labels").exists()
