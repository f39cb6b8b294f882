from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sa3d.export.config import MeshConfig
from sa3d.export.frames import Placement
from sa3d.export.manifest import find_exports, manifest_path, write_manifest
from sa3d.objects.segmentation import Segmentation


def test_content_of_a_manifest(voted: Segmentation, tmp_path: Path) -> None:
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
    manifest = json.loads(path.read_text())
    assert manifest["files"] == ["ball.obj", "ball.png"]
    assert manifest["source"] == {"checkpoint_sha256": "ab"}
    assert manifest["threshold"] == voted.threshold
    assert [one["name"] for one in manifest["objects"]] == ["ball"]
    assert manifest["objects"][0]["label"] == list(voted.objects).index("ball")
    assert manifest["frame"]["name"] == "original"
    np.testing.assert_allclose(manifest["frame"]["world_to_frame"], np.diag([0.5, 0.5, 0.5, 1.0]))
    assert manifest["settings"]["min_component"] == MeshConfig().min_component
    assert manifest["result"] == {"faces": 12}


def test_a_manifest_of_masks_has_no_frame(voted: Segmentation, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    manifest = json.loads(write_manifest(tmp_path / "masks", "masks", voted, [], {}).read_text())
    assert "frame" not in manifest
    assert manifest["files"] == ["masks"]


def test_exports_are_found_by_their_manifests(voted: Segmentation, tmp_path: Path) -> None:
    def leave(path: Path, kind: str, segmentation: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
        source = {"segmentation": str((tmp_path / segmentation).resolve())}
        write_manifest(path, kind, voted, ["ball"], source, result={"points": 7})

    leave(tmp_path / "ball.ply", "pointcloud", "mine")
    leave(tmp_path / "clouds/ball.pcd", "pointcloud", "mine")
    leave(tmp_path / "other.ply", "mesh", "another")
    leave(tmp_path / "page.html", "report", "mine")
    (tmp_path / "broken.manifest.json").write_text(json.dumps({"source": 3}))
    found = find_exports(tmp_path / "mine", [tmp_path, tmp_path / "clouds"])
    assert [(one.kind, one.path.name, one.size, one.objects, one.numbers) for one in found] == [
        ("pointcloud", "ball.ply", 100, ["ball"], {"points": 7}),
        ("pointcloud", "ball.pcd", 100, ["ball"], {"points": 7}),
    ]
