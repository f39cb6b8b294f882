"""Nerfstudio's own dataparser and data set read what was written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.datasets.base_dataset import InputDataset
from PIL import Image

from sa3d.base.errors import SA3DError
from sa3d.export.frames import Placement
from sa3d.export.masks import PhotoMasks
from sa3d.export.training_set import data_set_transforms, run_transforms, write_training_set
from sa3d.objects.segmentation import Segmentation
from sa3d.testing.analytic_scene import AnalyticScene

TURNED = np.array([[0.0, -1.0, 0.0, 0.1], [1.0, 0.0, 0.0, 0.2], [0.0, 0.0, 1.0, 0.3]])
ORIGINAL = Placement.original(TURNED, 0.5)


@pytest.fixture
def data(still_life: AnalyticScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The still life's photos as a data set with a transforms.json."""
    scene, folder = still_life.scene, tmp_path / "data"
    shutil.copytree(scene.views[0].image_path.parent, folder / "images")
    views = [replace(v, image_path=folder / "images" / v.image_path.name) for v in scene.views]
    monkeypatch.setattr(scene, "views", views)
    content = run_transforms(views, ORIGINAL)
    for frame in content["frames"]:
        frame["file_path"] = f"images/{Path(frame['file_path']).name}"
    for key in ("train_filenames", "val_filenames", "test_filenames"):
        del content[key]
    (folder / "transforms.json").write_text(json.dumps(content | {"ply_file_path": "points.ply"}))
    return folder


@pytest.fixture
def masks(data: Path, still_life: AnalyticScene, voted: Segmentation) -> PhotoMasks:
    return PhotoMasks(still_life.scene, voted, ("ball",))


def write(masks: PhotoMasks, data: Path, folder: Path, **options) -> Path:
    transforms = data_set_transforms(data, masks.views)
    assert transforms is not None
    write_training_set(masks, folder, transforms, **options)
    return folder


def read(folder: Path, split: str = "train", downscale_factor: int = 1) -> InputDataset:
    """Read the data set as ns-train does; poses as in the file."""
    config = NerfstudioDataParserConfig(
        data=folder,
        downscale_factor=downscale_factor,
        eval_mode="all",
        orientation_method="none",
        center_method="none",
        auto_scale_poses=False,
    )
    return InputDataset(config.setup().get_dataparser_outputs(split))


def masks_read(dataset: InputDataset) -> dict[str, np.ndarray]:
    return {
        path.name: dataset[i]["mask"][..., 0].numpy()
        for i, path in enumerate(dataset.image_filenames)
    }


@pytest.mark.parametrize("keep", ["object", "rest"])
def test_nerfstudio_reads_photos_and_masks(keep, masks: PhotoMasks, data: Path) -> None:
    folder = write(masks, data, data.parent / "out", keep=keep)
    dataset = read(folder)
    assert {path.resolve() for path in dataset.image_filenames} == {
        view.image_path for view in masks.views
    }
    found = masks_read(dataset)
    for index, view in enumerate(masks.views):
        np.testing.assert_array_equal(found[view.name], masks.together(index) ^ (keep == "rest"))
    content = json.loads((folder / "transforms.json").read_text())
    assert content["ply_file_path"] == "../data/points.ply"
    assert content["frames"][0]["file_path"] == "../data/images/frame_00000.png"
    assert content["frames"][0]["mask_path"] == "masks/frame_00000.png"


def test_frames_equal_the_data_sets_own_otherwise(masks: PhotoMasks, data: Path) -> None:
    folder = write(masks, data, data.parent / "out")
    before, after = (json.loads((f / "transforms.json").read_text()) for f in (data, folder))
    for old, new in zip(before["frames"], after["frames"], strict=True):
        for key in set(old) - {"file_path"}:
            assert new[key] == old[key]


def test_masks_of_the_data_set_are_kept(masks: PhotoMasks, data: Path) -> None:
    content = json.loads((data / "transforms.json").read_text())
    usable = np.ones((36, 48), dtype=bool)
    usable[:, :24] = False
    Image.fromarray(usable.astype(np.uint8) * 255).save(data / "usable.png")
    for frame in content["frames"]:
        frame["mask_path"] = "usable.png"
    (data / "transforms.json").write_text(json.dumps(content))
    found = masks_read(read(write(masks, data, data.parent / "out", keep="rest")))
    for index, view in enumerate(masks.views):
        np.testing.assert_array_equal(found[view.name], ~masks.together(index) & usable)
    (data / "usable.png").unlink()
    with pytest.raises(SA3DError, match=r"usable\.png"):
        write(masks, data, data.parent / "again")
    assert not (data.parent / "again").exists()


def test_smaller_copies_of_the_photos_have_masks_too(masks: PhotoMasks, data: Path) -> None:
    (data / "images_2").mkdir()
    for view in masks.views:
        with Image.open(view.image_path) as image:
            image.resize((24, 18)).save(data / "images_2" / view.image_path.name)
    folder = write(masks, data, data.parent / "out")
    found = masks_read(read(folder, downscale_factor=2))
    for index, view in enumerate(masks.views):
        share = masks.together(index).reshape(18, 2, 24, 2).mean(axis=(1, 3))
        np.testing.assert_array_equal(found[view.name], share >= 0.5)
    assert not (folder / "images_4").exists()
    write(masks, data, folder, overwrite=True)
    assert len(list((data / "images_2").iterdir())) == 12  # the link is replaced, not followed


def test_the_splits_named_by_the_data_set_are_kept(masks: PhotoMasks, data: Path) -> None:
    content = json.loads((data / "transforms.json").read_text())
    names = [frame["file_path"] for frame in content["frames"]]
    content |= {"train_filenames": names[2:], "val_filenames": names[:1]}
    content |= {"test_filenames": names[1:2]}
    (data / "transforms.json").write_text(json.dumps(content))
    folder = write(masks, data, data.parent / "out")
    sizes = [len(read(folder, split)) for split in ("train", "val", "test")]
    assert sizes == [10, 1, 1]


def test_no_transforms_or_those_of_other_photos(masks: PhotoMasks, data: Path) -> None:
    assert data_set_transforms(data / "images", masks.views) is None
    content = json.loads((data / "transforms.json").read_text())
    others = data / "others.json"
    others.write_text(json.dumps(content | {"frames": content["frames"][1:]}))
    assert data_set_transforms(others, masks.views) is None
    for frame in content["frames"]:
        del frame["fl_x"]
    others.write_text(json.dumps(content))
    assert data_set_transforms(others, masks.views) is None


def test_cameras_of_a_run_come_back_the_same(masks: PhotoMasks, data: Path) -> None:
    distortion = (0.05, -0.02, 0.01, 0.002, 0.001, -0.002)
    views = [replace(v, camera=replace(v.camera, distortion=distortion)) for v in masks.views]
    views[3] = replace(views[3], camera=replace(views[3].camera, index=-1))
    write_training_set(masks, data.parent / "out", run_transforms(views, ORIGINAL))
    train, test = (read(data.parent / "out", split) for split in ("train", "test"))
    assert [path.name for path in test.image_filenames] == [views[3].name]
    kept = [view for view in views if view is not views[3]]
    assert [path.name for path in train.image_filenames] == [view.name for view in kept]
    for index, view in enumerate(kept):
        camera, found = view.camera, train.cameras[index]
        assert found.distortion_params.tolist() == pytest.approx(distortion)
        assert (float(found.fx), float(found.fy)) == pytest.approx((camera.fx, camera.fy))
        assert (float(found.cx), float(found.cy)) == pytest.approx((camera.cx, camera.cy))
        c2w = found.camera_to_worlds.double().numpy()
        in_original = ORIGINAL.points(camera.position.double().numpy()[None])[0]
        np.testing.assert_allclose(c2w[:, 3], in_original, atol=1e-5)
        ahead = camera.position + camera.forward
        step = ORIGINAL.points(ahead.double().numpy()[None])[0] - in_original
        np.testing.assert_allclose(-c2w[:, 2] * ORIGINAL.scale, step, atol=1e-5)
        assert torch.linalg.det(found.camera_to_worlds[:, :3]) == pytest.approx(1, abs=1e-5)


def test_never_replaced_unasked(masks: PhotoMasks, data: Path) -> None:
    folder = write(masks, data, data.parent / "out")
    with pytest.raises(SA3DError, match="overwrite"):
        write(masks, data, folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SA3DError, match=r"notes\.txt"):
        write(masks, data, folder, overwrite=True)
    with pytest.raises(SA3DError, match="folder of the photos"):
        write(masks, data, data, overwrite=True)  # the data set itself
    assert len(list((data / "images").iterdir())) == 12
