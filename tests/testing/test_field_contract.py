from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays
from sa3d.testing.analytic_fields import AnalyticField, Box, Sphere
from sa3d.testing.analytic_scene import BALL, CRATE, TABLE, spiral_camera
from sa3d.testing.field_contract import check_radiance_field

SHAPES = (BALL, CRATE, TABLE)
RAYS = spiral_camera(1, 12, (16, 12)).image_rays()


@pytest.mark.parametrize("kind", ["box", "contracted", "contracted-l2"])
@pytest.mark.parametrize("softness", [0.0, 0.1])
def test_analytic_fields_keep_the_contract(kind: Any, softness: float) -> None:
    check_radiance_field(AnalyticField(SHAPES, Bounds(kind), softness=softness), RAYS)


class Broken(AnalyticField):
    """A field with one thing wrong."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(SHAPES)
        self.changes = changes

    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        render = super().render(rays, camera_index)
        return replace(render, **{k: change(render) for k, change in self.changes.items()})


def one_chunk_only(render: FieldRender) -> Tensor:
    return render.rgb * (len(render.rgb) / 192)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": lambda r: r.rgb + 0.5}, "rgb is above 1"),
        ({"rgb": lambda r: r.rgb * float("nan")}, "rgb is not finite"),
        ({"rgb": one_chunk_only}, "rgb depends on how many rays"),
        ({"depth": lambda r: r.depth[:, None]}, "depth is"),
        ({"depth": lambda r: r.depth * 3}, "depth is behind"),
        ({"accumulation": lambda r: r.accumulation * 0.5}, "not the sum"),
        ({"weights": lambda r: r.weights - 0.1}, "a weight is negative"),
        ({"weights": lambda r: r.weights.requires_grad_()}, "carries a gradient"),
        ({"positions": lambda r: r.positions + 0.1}, "not on its ray"),
        (
            {"positions": lambda r: r.positions.flip(1), "weights": lambda r: r.weights.flip(1)},
            "near to far",
        ),
    ],
)
def test_the_contract_can_fail(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_radiance_field(Broken(**changes), RAYS)


def test_rays_that_hit_nothing_are_refused() -> None:
    up = Rays(torch.zeros(8, 3) + 0.9, torch.tensor([[0.0, 0.0, 1.0]]).expand(8, 3))
    with pytest.raises(AssertionError, match="give other rays"):
        check_radiance_field(AnalyticField(SHAPES), up)


def test_known_answers() -> None:
    field = AnalyticField([Sphere((0.0, 0.0, 0.0), 0.5, color=(1.0, 0.0, 0.0))], num_samples=400)
    rays = Rays(
        torch.tensor([[-2.0, 0.0, 0.0], [-2.0, 0.0, 0.9]]), torch.tensor([[1.0, 0.0, 0.0]] * 2)
    )
    render = field.render(rays)
    assert render.depth[0] == pytest.approx(1.5, abs=0.01)
    assert render.accumulation.tolist() == pytest.approx([1.0, 0.0], abs=1e-5)
    assert render.rgb[0].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-5)
    assert field.instances(rays).tolist() == [0, -1]
    inside_outside = torch.tensor([[0.0, 0.0, 0.49], [0.0, 0.0, 0.51]])
    assert field.density(inside_outside).tolist() == [400.0, 0.0]


def test_instances_agree_with_samples() -> None:
    field = AnalyticField(SHAPES, num_samples=400)
    render = field.render(RAYS)
    seen = render.accumulation > 0.5
    assert ((field.instances(RAYS) >= 0) == seen).float().mean() > 0.97
    surface = RAYS.origins + RAYS.directions * render.depth[:, None]
    nearest = torch.stack([s.signed_distance(surface).abs() for s in SHAPES], -1).argmin(-1)
    assert (nearest == field.instances(RAYS))[seen].float().mean() > 0.95


def test_different_fields_have_different_fingerprints() -> None:
    fields = [
        AnalyticField(SHAPES),
        AnalyticField(SHAPES[:2]),
        AnalyticField(SHAPES, softness=0.1),
        AnalyticField(SHAPES, Bounds("contracted")),
        AnalyticField([Box((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))]),
    ]
    assert len({field.fingerprint for field in fields}) == len(fields)
    assert fields[0].fingerprint == AnalyticField(SHAPES).fingerprint
