from __future__ import annotations

import json
from pathlib import Path

from sa3d.export.manifest import write_manifest
from sa3d.objects.segmentation import Segmentation
from sa3d.report.exports import find_exports


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
