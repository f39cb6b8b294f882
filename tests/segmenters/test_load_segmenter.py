"""Loading segmenters by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sa3d.base.errors import SA3DError
from sa3d.segmenters.loading import load_segmenter
from sa3d.segmenters.registry import KNOWN_SEGMENTERS


def test_embedded() -> None:
    assert load_segmenter("graphcut").name == "graphcut"


def test_local_folder(tiny_sam2: Path) -> None:
    assert load_segmenter(str(tiny_sam2)).name.startswith(tiny_sam2.name)


@pytest.mark.parametrize("name", ["grabcut", "", "sam4", "./no/such/folder"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SA3DError) as caught:
        load_segmenter(name)
    assert all(known in str(caught.value) for known in KNOWN_SEGMENTERS)
