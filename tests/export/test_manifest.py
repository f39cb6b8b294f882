from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from sa3d.export.config import MeshConfig
from sa3d.export.frames import Placement
from sa3d.export.manifest import file_sha256, manifest_path, write_manifest
from sa3d.objects.segmentation import Segmentation


def test_hash_of_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000  # more than is read at once
    (tmp_path / "weights").write_bytes(content)
    assert file_sha256(tmp_path / "weights") == hashlib.sha256(content).hexdigest()


def test_what_a_manifest_tells(voted: Segmentation, tmp_path: Path) -> None:
    placement = Placement.original(np.eye(4)[:3], 2.0)
    output = tmp_path / "ball.obj"
    path = write_manifest(
        output,
        "mesh",
        voted,
        ["ball"],
        {"checkpoint_sha256": "ab"},
        files=[output, tmp_path / "ball.png"],
        placement=placement,
        settings=MeshConfig(),
        result={"faces": 12},
    )
    assert path == manifest_path(output) == tmp_path / "ball.obj.manifest.json"
    told = json.loads(path.read_text())
    assert told["files"] == ["ball.obj", "ball.png"]
    assert told["source"] == {"checkpoint_sha256": "ab"}
    assert told["threshold"] == voted.threshold
    assert [one["name"] for one in told["objects"]] == ["ball"]
    assert told["objects"][0]["label"] == list(voted.objects).index("ball")
    assert told["frame"]["name"] == "original"
    np.testing.assert_allclose(told["frame"]["world_to_frame"], np.diag([0.5, 0.5, 0.5, 1.0]))
    assert told["settings"]["min_component"] == MeshConfig().min_component
    assert told["result"] == {"faces": 12}


def test_a_manifest_of_masks_has_no_frame(voted: Segmentation, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    told = json.loads(write_manifest(tmp_path / "masks", "masks", voted, [], {}).read_text())
    assert "frame" not in told
    assert told["files"] == ["masks"]
