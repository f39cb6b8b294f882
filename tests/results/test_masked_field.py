from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.camera import Rays
from sa3d.objects.segmentation import Segmentation
from sa3d.results.masked_field import FAR, MaskedField
from sa3d.results.object_volume import object_volume
from sa3d.testing.analytic_fields import AnalyticField
from sa3d.testing.analytic_scene import BALL, CRATE, TABLE, AnalyticScene, spiral_camera
from sa3d.testing.field_contract import check_radiance_field

CAMERA = spiral_camera(1, 12, (40, 30))


@pytest.mark.parametrize("name", ["ball", "crate"])
def test_object_alone(still_life: AnalyticScene, voted: Segmentation, name: str) -> None:
    shape = {"ball": BALL, "crate": CRATE}[name]
    volume = object_volume(still_life.scene, voted, name)
    rays = CAMERA.image_rays()
    alone = MaskedField(still_life.field, volume, "object").render(rays)
    truth = AnalyticField([shape]).instances(rays) == 0
    shown = alone.accumulation > 0.5
    assert ((shown & truth).sum() / (shown | truth).sum()) > 0.85
    torch.testing.assert_close(
        alone.rgb[shown & truth].mean(0), torch.tensor(shape.color), atol=0.03, rtol=0
    )
    assert (alone.rgb[alone.accumulation == 0] == 1).all()
    assert (alone.depth[alone.accumulation < 0.5] == FAR).all()


def test_an_occluder_does_not_hide_an_object_alone(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    target = torch.tensor(BALL.center)
    through_crate = torch.nn.functional.normalize(target - torch.tensor([-1.9, -0.7, -0.15]), dim=0)
    origin = torch.tensor([-1.9, -0.7, -0.15])
    rays = Rays(origin[None], through_crate[None])
    assert still_life.field.instances(rays).tolist() == [1]
    volume = object_volume(still_life.scene, voted, "ball")
    alone = MaskedField(still_life.field, volume, "object").render(rays)
    torch.testing.assert_close(alone.rgb[0], torch.tensor(BALL.color), atol=0.02, rtol=0)
    expected = BALL.intersect(rays)
    torch.testing.assert_close(alone.depth, expected, atol=0.05, rtol=0)


def test_the_space_behind_a_removed_object_is_visible(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    volume = object_volume(still_life.scene, voted, "ball")
    rays = CAMERA.image_rays()
    rest = MaskedField(still_life.field, volume, "rest").render(rays)
    truth = AnalyticField([CRATE, TABLE]).render(rays)
    hidden = still_life.field.instances(rays) == 0
    close = (rest.rgb - truth.rgb).abs().amax(dim=-1) < 0.1
    assert hidden.sum() > 40
    assert close[hidden].float().mean() > 0.85
    assert close[~hidden].float().mean() > 0.97


@pytest.mark.parametrize("keep", ["object", "rest"])
@pytest.mark.parametrize("soft", [False, True])
def test_it_is_a_radiance_field(
    still_life: AnalyticScene, voted: Segmentation, keep, soft: bool
) -> None:
    volume = object_volume(still_life.scene, voted, "ball")
    rays = spiral_camera(1, 12, (16, 12)).image_rays()
    check_radiance_field(MaskedField(still_life.field, volume, keep, soft=soft), rays)


def test_weights_by_hand(still_life: AnalyticScene, voted: Segmentation) -> None:
    # Four half-opaque samples; the second one is in the ball and is cut away.
    positions = torch.tensor([[[0.9, 0, 0.9], [0.25, 0.1, -0.1], [-0.9, 0, 0.8], [-0.9, 0, 0.5]]])

    class FourSamples(AnalyticField):
        def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
            return FieldRender(
                rgb=torch.tensor([[0.2, 0.2, 0.2]]),
                depth=torch.ones(1),
                accumulation=torch.tensor([0.9375]),
                positions=positions,
                weights=torch.tensor([[0.5, 0.25, 0.125, 0.0625]]),
                sample_rgb=torch.zeros(1, 4, 3),
            )

    volume = object_volume(still_life.scene, voted, "ball")
    rays = Rays(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]]))
    rest = MaskedField(FourSamples([BALL]), volume, "rest").render(rays)
    torch.testing.assert_close(rest.weights, torch.tensor([[0.5, 0.0, 0.25, 0.125]]))
    assert rest.accumulation.item() == pytest.approx(0.875)
    # Behind the last sample the field shows 0.2 / 0.0625, that is white.
    torch.testing.assert_close(rest.rgb, torch.full((1, 3), 0.125))


def test_a_field_without_sample_colors_is_refused(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    class Colorless(AnalyticField):
        def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
            return replace(super().render(rays, camera_index), sample_rgb=None)

    volume = object_volume(still_life.scene, voted, "ball")
    with pytest.raises(SA3DError, match="no colors per sample"):
        MaskedField(Colorless([BALL]), volume, "rest").render(CAMERA.image_rays()[:4])


def test_fingerprints_differ(still_life: AnalyticScene, voted: Segmentation) -> None:
    ball, crate = (object_volume(still_life.scene, voted, name) for name in ("ball", "crate"))
    prints = {still_life.field.fingerprint}
    for volume in (ball, crate):
        for keep in ("object", "rest"):
            prints.add(MaskedField(still_life.field, volume, keep).fingerprint)
    assert len(prints) == 5
