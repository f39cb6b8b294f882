"""Assertions that every ``RadianceField`` must pass."""

from __future__ import annotations

import torch

from sa3d.fields.radiance_field import FieldRender, RadianceField
from sa3d.geometry.camera import Rays


def check_radiance_field(field: RadianceField, rays: Rays) -> None:
    """Check a field against its contract.

    Args:
        field: to check.
        rays: a few dozen; most of them must hit something.

    Raises:
        AssertionError: the field breaks the contract; the message names the broken rule.
    """
    assert isinstance(field, RadianceField), "a member of RadianceField is missing"
    assert len(rays) >= 4, "give at least four rays"
    render = field.render(rays)
    _check_shapes(render, len(rays))
    _check_values(render)
    _check_positions(render, rays)
    _check_chunks(field, render, rays)
    _check_density(field, render)
    assert field.fingerprint, "the fingerprint is empty"
    assert field.fingerprint == field.fingerprint, "the fingerprint changes between calls"
    _check_shapes(field.render(rays[:0]), 0)


def _tensors(render: FieldRender) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(render).items() if value is not None}


def _check_shapes(render: FieldRender, num_rays: int) -> None:
    samples = render.weights.shape[-1]
    expected = {
        "rgb": (num_rays, 3),
        "depth": (num_rays,),
        "accumulation": (num_rays,),
        "positions": (num_rays, samples, 3),
        "weights": (num_rays, samples),
        "sample_rgb": (num_rays, samples, 3),
    }
    for name, value in _tensors(render).items():
        shape = tuple(value.shape)
        assert shape == expected[name], f"{name} is {shape}, expected {expected[name]}"
        assert not value.requires_grad, f"{name} carries a gradient"


def _check_values(render: FieldRender) -> None:
    for name, value in _tensors(render).items():
        assert torch.isfinite(value).all(), f"{name} is not finite"
    for name in ("rgb", "sample_rgb"):
        value = _tensors(render).get(name, torch.zeros(1))
        assert value.min() >= -1e-4, f"{name} is below 0"
        assert value.max() <= 1 + 1e-4, f"{name} is above 1"
    assert (render.weights >= 0).all(), "a weight is negative"
    assert (render.accumulation <= 1 + 1e-4).all(), "an accumulation is above 1"
    total = render.weights.sum(-1)
    assert torch.allclose(render.accumulation, total, atol=1e-3), (
        "accumulation is not the sum of the weights"
    )
    assert (total > 0).any(), "no ray hits anything: give other rays"


def _check_positions(render: FieldRender, rays: Rays) -> None:
    offset = render.positions - rays.origins.to(render.positions)[:, None]
    directions = rays.directions.to(render.positions)[:, None]
    along = (offset * directions).sum(-1)
    aside = (offset - along[..., None] * directions).norm(dim=-1)
    lit = render.weights > 0
    assert (aside <= 1e-3 * along.abs().clamp_min(1))[lit].all(), "a sample is not on its ray"
    assert (along >= -1e-4)[lit].all(), "a sample is behind the camera"
    farthest = torch.where(lit, along, -torch.inf)
    in_order = farthest.cummax(-1).values - along <= 1e-4 * along.abs().clamp_min(1)
    assert in_order[lit].all(), "samples do not run from near to far"
    hit = render.accumulation > 0.5
    nearest = torch.where(lit, along, torch.inf).amin(-1)
    slack = 0.05 * render.depth.abs().clamp_min(1)
    assert (render.depth >= nearest - slack)[hit].all(), "depth is before the samples"
    assert (render.depth <= farthest.amax(-1) + slack)[hit].all(), "depth is behind the samples"


def _check_chunks(field: RadianceField, whole: FieldRender, rays: Rays) -> None:
    cut = len(rays) // 3
    parts = [field.render(rays[:cut]), field.render(rays[cut:])]
    for name in ("rgb", "accumulation"):
        chunked = torch.cat([getattr(part, name) for part in parts])
        assert torch.allclose(getattr(whole, name), chunked, atol=1e-3), (
            f"{name} depends on how many rays are rendered at once"
        )
    depth = torch.cat([part.depth for part in parts])
    agree = torch.isclose(whole.depth, depth, rtol=1e-3, atol=1e-3).float().mean()
    assert agree >= 0.98, "depth depends on how many rays are rendered at once"


def _check_density(field: RadianceField, render: FieldRender) -> None:
    ray = render.accumulation.argmax()
    brightest = render.positions[ray, render.weights[ray].argmax()]
    positions = torch.stack([brightest, render.positions[ray, 0]])
    density = field.density(positions)
    assert tuple(density.shape) == (2,), f"density of [2, 3] positions is {tuple(density.shape)}"
    assert not density.requires_grad, "density carries a gradient"
    assert (density >= 0).all(), "density is negative"
    assert density[0] > 0, "no density where the ray's light comes from"
    assert tuple(field.density(positions[:0]).shape) == (0,), "density of no positions is not empty"
