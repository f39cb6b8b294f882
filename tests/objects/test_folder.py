from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import load_segmentation, save_segmentation
from sa3d.objects.folder import is_segmentation, read_summary
from sa3d.objects.segmentation import Segmentation


@pytest.mark.parametrize("lam", [1.0, 0.6, 3.0])
def test_a_summary_says_what_the_loaded_segmentation_says(
    voted: Segmentation, tmp_path: Path, lam: float
) -> None:
    assert not is_segmentation(tmp_path)
    voted = replace(voted.recolored("ball", (1, 2, 3)), lam=lam)
    save_segmentation(voted, tmp_path / "s", {"load_config": "config.yml"})
    assert is_segmentation(tmp_path / "s")
    loaded, summary = load_segmentation(tmp_path / "s"), read_summary(tmp_path / "s")
    assert summary.provenance == loaded.provenance
    objects, labels = loaded.segmentation.objects, loaded.segmentation.labels()
    assert [one.name for one in summary.objects] == list(objects)
    for number, one in enumerate(summary.objects):
        whole = objects[one.name]
        assert one.elements == int((labels == number).sum()) > 0
        assert one.color == loaded.segmentation.colors[one.name]
        assert (one.verdict, one.prompts) == (whole.verdict, len(whole.prompts))
        assert list(one.rounds) == list(whole.rounds)


def test_a_damaged_folder_is_refused(voted: Segmentation, tmp_path: Path) -> None:
    save_segmentation(voted, tmp_path / "s")
    arrays = tmp_path / "s/elements.npz"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SA3DError, match="is damaged"):
        read_summary(tmp_path / "s")
    manifest = tmp_path / "s/segmentation.json"
    manifest.write_text(manifest.read_text().replace('"version": 2', '"version": 9'))
    with pytest.raises(SA3DError, match="has format 9"):
        read_summary(tmp_path / "s")
    with pytest.raises(SA3DError, match="is missing"):
        read_summary(tmp_path)
