from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sa3d.errors import SA3DError
from sa3d.export.box import object_box
from sa3d.export.manifest import write_manifest
from sa3d.inverse_rendering import Evidence
from sa3d.prompts import Prompt
from sa3d.rendering import ViewPicture
from sa3d.report.exports import find_exports
from sa3d.report.page import ReportConfig, pictures_per_object, report_page
from sa3d.report.pictures import HEAT, UNKNOWN, doubt_picture, prompt_picture
from sa3d.report.turntable import animated_webp, turntable, turntable_cameras
from sa3d.report.view_choice import prompted_views, spread_views
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.testing.analytic_scene import BALL, AnalyticScene

QUICK = ReportConfig(max_views=3, doubt_views=1, turntable_frames=2, turntable_side=24)


def test_turntable_goes_all_around_at_the_cameras_height(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    box = object_box(still_life.scene, voted, "ball")
    cameras = turntable_cameras(still_life.scene, box, 8, 32)
    offsets = torch.stack([camera.position for camera in cameras]) - torch.tensor(BALL.center)
    azimuths = torch.atan2(offsets[:, 1], offsets[:, 0]).sort().values
    np.testing.assert_allclose(azimuths.diff().numpy(), 2 * math.pi / 8, atol=0.2)
    assert (offsets[:, 2] > 0.5).all()
    for camera in cameras:
        pixels, z = camera.project(torch.tensor(box.center[None], dtype=torch.float32))
        np.testing.assert_allclose(pixels.numpy(), [[16, 16]], atol=1e-3)
        corners, _ = camera.project(torch.tensor(box.corners, dtype=torch.float32))
        assert float(z) > 0
        assert corners.min() > -1
        assert corners.max() < 33


def test_turntable_swings_where_photographs_are(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    scene = still_life.scene
    front = Scene(scene.field, scene.views[:4], scene.cache.parent, scene.config)
    box = object_box(scene, voted, "ball")
    offsets = torch.stack([c.position for c in turntable_cameras(front, box, 10, 8)])
    offsets -= torch.tensor(box.center).float()
    seen = torch.stack([view.camera.position for view in front.views])
    seen = seen - torch.tensor(box.center).float()
    angles = torch.atan2(offsets[:, 1], offsets[:, 0])
    given = torch.atan2(seen[:, 1], seen[:, 0])
    assert angles.min() >= given.min() - 1e-3
    assert angles.max() <= given.max() + 1e-3
    assert float(angles[0]) == pytest.approx(float(given.min()), abs=1e-3)
    assert float(angles[5]) == pytest.approx(float(given.max()), abs=1e-3)


def test_turntable_shows_the_object_alone(still_life: AnalyticScene, voted: Segmentation) -> None:
    picture = ViewPicture(still_life.scene, voted, "ball")
    frames = list(turntable(picture, object_box(still_life.scene, voted, "ball"), 3, 24))
    for pixels in frames:
        assert pixels[12, 12, 3] > 250
        assert pixels[0, 0, 3] == 0
        assert abs(pixels[12, 12, :3] / 255 - np.array(BALL.color)).max() < 0.05
    with Image.open(io.BytesIO(animated_webp(frames))) as moving:
        assert (moving.format, moving.size, moving.info["loop"]) == ("WEBP", (24, 24), 0)


def test_prompts_are_drawn(still_life: AnalyticScene) -> None:
    name = still_life.scene.views[0].name
    prompt = Prompt(name, points=((10.0, 8.0), (30.0, 20.0)), labels=(1, 0), box=(4, 3, 40, 30))
    drawn = prompt_picture(still_life.scene, 0, [prompt])
    plain = still_life.scene.views[0].image()
    assert drawn[8, 10].tolist() == [40, 200, 90]
    assert drawn[20, 30].tolist() == [235, 50, 60]
    assert drawn[3, 20].tolist() == [255, 210, 40]
    np.testing.assert_array_equal(drawn[33:], plain[33:])
    masked = Prompt(name, mask=np.pad(np.ones((10, 10), bool), ((0, 26), (0, 38))))
    changed = (prompt_picture(still_life.scene, 0, [masked]) != plain).any(axis=2)
    assert changed[:10, :10].mean() > 0.9
    assert not changed[10:].any()


def test_doubt_glows_at_even_odds_and_is_blue_where_nobody_voted(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    def shown(evidence: Evidence, prior: float = 0.5) -> np.ndarray:
        one = replace(voted.object("ball"), evidence=evidence)
        changed = replace(voted, objects={"ball": one}, prior=prior)
        return doubt_picture(still_life.scene, changed, "ball", 0)

    total = torch.full_like(voted.object("ball").evidence.total, 100.0)
    on = still_life.masks["ball"][0]
    split = shown(Evidence(total / 2, total))[on]
    assert abs(split.astype(int) - HEAT[-1]).max() <= 3
    sure = shown(Evidence(total, total))[on].astype(int)
    assert (sure.max(axis=-1) - sure.min(axis=-1)).max() <= 3  # grey
    unknown = shown(Evidence.none(len(total)))[on].mean(axis=0)
    assert unknown.argmax() == np.argmax(UNKNOWN)


def test_views_shown_are_the_prompted_and_far_apart(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    one = voted.object("ball")
    assert prompted_views(still_life.scene, one) == [0]
    chosen = spread_views(still_life.scene, one, 4)
    assert chosen[0] == 0
    assert len(set(chosen)) == 4
    centers = np.array([v.camera.position.numpy() for v in still_life.scene.views])
    apart = np.linalg.norm(centers[chosen][:, None] - centers[chosen], axis=-1)
    assert apart[apart > 0].min() > 1.5
    unseen = {i: replace(r, outcome="unseen") if i % 2 else r for i, r in one.views.items()}
    assert all(i % 2 == 0 for i in spread_views(still_life.scene, replace(one, views=unseen), 12))


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


def test_page_says_why_views_were_rejected_and_escapes_names(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    one = voted.object("ball")
    views = one.views | {3: replace(one.views[3], outcome="rejected", agreement=0.31)}
    name = "<b>ball"
    changed = replace(voted, objects={name: replace(one, name=name, views=views, converged=False)})
    told: list[str] = []
    page = report_page(
        still_life.scene,
        changed,
        [name],
        {"checkpoint_sha256": "abc"},
        config=QUICK,
        min_agreement=0.5,
        progress=told.append,
    )
    assert "<b>ball" not in page
    assert "&lt;b&gt;ball" in page
    assert "IoU 0.31 with the other views is under the gate of 0.5" in page
    assert 'class="verdict bad"' in page
    assert page.count("data:image/webp") == 1
    assert len(told) == 3 + 1 + 1 + 2 <= pictures_per_object(QUICK)
    assert "http" not in page


def test_page_of_an_object_without_body(still_life: AnalyticScene, voted: Segmentation) -> None:
    nothing = replace(voted.object("ball"), evidence=Evidence.none(len(voted.elements)))
    empty = replace(voted, objects={"ball": nothing})
    page = report_page(still_life.scene, empty, ["ball"], {}, config=QUICK)
    assert "is empty: no part of the scene belongs to it" in page.replace("&#39;", "'")
    assert "data:image/webp" not in page
    with pytest.raises(SA3DError, match="no object 'cat'"):
        report_page(still_life.scene, empty, ["cat"], {}, config=QUICK)
