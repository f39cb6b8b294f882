from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

import sa3d.export.masks
from sa3d.errors import SA3DError
from sa3d.export.masks import export_masks, mask_names
from sa3d.final_masks import final_mask
from sa3d.geometry import Camera
from sa3d.inverse_rendering import Evidence
from sa3d.segmentation import Segmentation
from sa3d.testing.analytic_scene import AnalyticScene, spiral_camera
from sa3d.views import View

CAMERA: Camera = spiral_camera(0, 4, (8, 6))


def test_one_file_per_image_and_object(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    folders = export_masks(still_life.scene, voted, tmp_path)
    assert folders == [tmp_path / "ball", tmp_path / "crate"]
    for name, folder in zip(("ball", "crate"), folders, strict=True):
        assert len(list(folder.iterdir())) == len(still_life.scene.views)
        for index, view in enumerate(still_life.scene.views):
            with Image.open(folder / view.name) as image:
                assert image.mode == "L"
                pixels = np.asarray(image)
            mask, _ = final_mask(still_life.scene, voted, name, index)
            np.testing.assert_array_equal(pixels, np.where(mask, 255, 0))


def test_chosen_objects_and_overwrite(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    export_masks(still_life.scene, voted, tmp_path, ["crate"])
    assert [p.name for p in tmp_path.iterdir()] == ["crate"]
    with pytest.raises(SA3DError, match="overwrite"):
        export_masks(still_life.scene, voted, tmp_path, ["crate"])
    export_masks(still_life.scene, voted, tmp_path, ["crate"], overwrite=True)
    (tmp_path / "crate" / "notes.txt").write_text("mine")
    with pytest.raises(SA3DError, match=r"notes\.txt"):
        export_masks(still_life.scene, voted, tmp_path, ["crate"], overwrite=True)
    assert (tmp_path / "crate" / "notes.txt").exists()


def test_empty_or_unknown_object_writes_nothing(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    nothing = replace(voted.object("ball"), evidence=Evidence.none(len(voted.elements)))
    empty = replace(voted, objects={"crate": voted.object("crate"), "ball": nothing})
    with pytest.raises(SA3DError, match="'ball' is empty"):
        export_masks(still_life.scene, empty, tmp_path)
    with pytest.raises(SA3DError, match="no object 'cat'"):
        export_masks(still_life.scene, voted, tmp_path, ["ball", "cat"])
    assert not list(tmp_path.iterdir())


def test_interruption_leaves_nothing(
    still_life: AnalyticScene,
    voted: Segmentation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[Path] = []

    def interrupted(path: Path, mask: np.ndarray) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        path.write_bytes(b"x")
        written.append(path)

    monkeypatch.setattr(sa3d.export.masks, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_masks(still_life.scene, voted, tmp_path)
    assert len(written) == 3
    assert not list(tmp_path.iterdir())


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
