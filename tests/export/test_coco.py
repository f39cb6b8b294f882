from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.export.coco import write_coco
from sa3d.export.masks import PhotoMasks
from sa3d.objects.segmentation import Segmentation
from sa3d.testing.analytic_scene import AnalyticScene


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


def test_never_replaced_unasked(
    still_life: AnalyticScene, voted: Segmentation, tmp_path: Path
) -> None:
    masks = PhotoMasks(still_life.scene, voted, ("ball",))
    (tmp_path / "all.json").write_text("mine")
    with pytest.raises(SA3DError, match="overwrite"):
        write_coco(masks, tmp_path / "all.json")
    assert (tmp_path / "all.json").read_text() == "mine"
    write_coco(masks, tmp_path / "all.json", overwrite=True)
    assert (tmp_path / "all.json").read_text() != "mine"
