from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sa3d.base.errors import SA3DError
from sa3d.objects.colors import object_color
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_mask
from sa3d.results.masked_field import MaskedField
from sa3d.results.rendering import ObjectRenderer, save_image, save_video, tinted
from sa3d.testing.analytic_fields import AnalyticField
from sa3d.testing.analytic_scene import BALL, CRATE, TABLE, AnalyticScene, look_at

FREE = look_at((1.6, -1.4, 1.0), (0.0, 0.0, -0.1), (40, 30))


@pytest.fixture(scope="module")
def ball(still_life: AnalyticScene, voted: Segmentation) -> ObjectRenderer:
    return ObjectRenderer(still_life.scene, voted, "ball")


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_photo(still_life: AnalyticScene, voted: Segmentation, ball: ObjectRenderer) -> None:
    photo = still_life.scene.views[2].image()
    mask, _ = final_mask(still_life.scene, voted, "ball", 2)
    np.testing.assert_array_equal(ball.over_photo(2, "mask"), np.where(mask, 255, 0))
    np.testing.assert_array_equal(
        ball.over_photo(2, "overlay"), tinted(photo, mask, object_color(0))
    )
    cut = ball.over_photo(2, "object")
    np.testing.assert_array_equal(cut[..., :3], photo)
    np.testing.assert_array_equal(cut[..., 3] >= 127, mask)
    assert ball.over_photo(2, "removed").shape == photo.shape


def test_an_object_is_tinted_in_its_own_color(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    painted = voted.recolored("ball", (1, 2, 3))
    overlay = ObjectRenderer(still_life.scene, painted, "ball").over_photo(2, "overlay")
    mask, _ = final_mask(still_life.scene, painted, "ball", 2)
    photo = still_life.scene.views[2].image()
    np.testing.assert_array_equal(overlay, tinted(photo, mask, (1, 2, 3)))


def test_free_camera(still_life: AnalyticScene, ball: ObjectRenderer) -> None:
    rays = FREE.image_rays()
    truth = (still_life.field.instances(rays) == 0).reshape(30, 40).numpy()
    mask = ball.from_camera(FREE, "mask")
    assert mask.shape == (30, 40)
    assert iou(mask > 0, truth) > 0.85
    cut = ball.from_camera(FREE, "object")
    assert cut.shape == (30, 40, 4)
    assert iou(cut[..., 3] > 127, truth) > 0.8
    assert abs(cut[cut[..., 3] > 250][:, :3].mean(0) / 255 - np.array(BALL.color)).max() < 0.03
    overlay = ball.from_camera(FREE, "overlay")
    rendered = still_life.field.render(rays).rgb.reshape(30, 40, 3).numpy() * 255
    assert abs(overlay - rendered)[mask == 0].max() <= 1
    assert abs(overlay - rendered)[mask > 0].max(axis=1).min() > 10
    without = AnalyticField([CRATE, TABLE]).render(rays).rgb.reshape(30, 40, 3).numpy() * 255
    close = abs(ball.from_camera(FREE, "removed") - without).max(axis=2) < 25
    assert close[truth].mean() > 0.8
    assert close[~truth].mean() > 0.95


def test_pixels_far_from_the_object_are_not_rendered_and_not_missed(ball: ObjectRenderer) -> None:
    near = ball._near(FREE)
    assert 0.1 < near.float().mean() < 0.6
    alone = MaskedField(ball.scene.field, ball.volume, "object")
    torch.testing.assert_close(ball._rendered(alone, FREE, near), ball._rendered(alone, FREE))
    inside = look_at(tuple(BALL.center), (0.0, 0.0, 1.0), (8, 6))
    assert ball._near(inside).all()


def test_chunks_do_not_change_images(
    still_life: AnalyticScene, voted: Segmentation, ball: ObjectRenderer
) -> None:
    small = ObjectRenderer(still_life.scene, voted, "ball", chunk=101)
    difference = small.from_camera(FREE, "object").astype(int) - ball.from_camera(FREE, "object")
    assert abs(difference).max() <= 1


def test_tint_and_outline() -> None:
    image = np.full((5, 5, 3), 100, dtype=np.uint8)
    mask = np.zeros((5, 5), dtype=bool)
    mask[1:4, 1:4] = True
    out = tinted(image, mask, (200, 0, 100))
    assert out[0, 0].tolist() == [100, 100, 100]
    assert out[1, 1].tolist() == [200, 0, 100]
    assert out[2, 2].tolist() == [145, 55, 100]


def test_images_on_disk(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    save_image(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
    with pytest.raises(SA3DError, match="overwrite"):
        save_image(tmp_path / "a.png", pixels)
    save_image(tmp_path / "a.png", pixels[..., 0], overwrite=True)
    with pytest.raises(SA3DError, match="unknown image format"):
        save_image(tmp_path / "a.picture", pixels)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    frames = [np.full((33, 48, 3), 40 * i, dtype=np.uint8) for i in range(5)]
    frames[1] = np.dstack([frames[1], np.zeros((33, 48), dtype=np.uint8)])  # all transparent
    frames[2] = np.full((33, 48), 200, dtype=np.uint8)
    assert save_video(tmp_path / "a.mp4", frames, 10) == 5
    with av.open(str(tmp_path / "a.mp4")) as container:
        decoded = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate) == 10
    assert [f.shape for f in decoded] == [(32, 48, 3)] * 5
    for frame, grey in zip(decoded, (0, 255, 200, 120, 160), strict=True):
        assert abs(frame.astype(int) - grey).mean() < 6
    with pytest.raises(SA3DError, match="overwrite"):
        save_video(tmp_path / "a.mp4", frames, 10)


def test_no_video_is_left_behind(tmp_path: Path) -> None:
    def interrupted():
        yield np.zeros((16, 16, 3), dtype=np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_video(tmp_path / "a.mp4", interrupted(), 10)
    with pytest.raises(SA3DError, match="no frames"):
        save_video(tmp_path / "a.mp4", [], 10)
    with pytest.raises(SA3DError, match=r"\.mp4"):
        save_video(tmp_path / "a.gif", [], 10)
    assert not list(tmp_path.iterdir())


def test_missing_encoder_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_av(name: str, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(SA3DError, match="pip install av"):
        save_video(tmp_path / "a.mp4", [np.zeros((16, 16, 3), dtype=np.uint8)], 10)
    assert not list(tmp_path.iterdir())
