"""Checks of the field of every method: it renders what the model itself renders."""

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.fields.base_field import Field

from nerfstudio_plugin.runs.cameras import to_nerfstudio
from nerfstudio_plugin.runs.model_building import without_lpips
from sa3d.geometry.camera import Camera
from sa3d.testing.field_contract import check_radiance_field

AABB = torch.tensor([[-1.0, -1.5, -0.5], [1.0, 1.5, 0.75]])
PARTS = ("rgb", "depth", "accumulation")


def camera(width=13, height=9, lens=None):
    """A camera above the scene that looks down."""
    pose = torch.eye(4)[:3]
    pose[:, 3] = torch.tensor([0.1, -0.2, 2.0])
    return Camera(pose, 12.0, 12.0, 6.0, 4.0, width, height, distortion=lens)


def build(config, seed=0, std=0.5):
    """A model with random weights of this size; those of a fresh one render all but nothing."""
    torch.manual_seed(seed)
    with without_lpips():
        model = config.setup(scene_box=SceneBox(AABB), num_train_data=3, metadata={}, device="cpu")
    for parameter in model.parameters():
        if parameter.numel() and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=std)
    return model.eval()


def check_renders_as_the_model(field_class, model, suffix="", seen_by=None):
    """Color, depth and accumulation are the model's own of a camera; the contract holds."""
    seen_by = seen_by or camera()
    field = field_class(model, rays_per_chunk=50)
    ours = field.render(seen_by.image_rays())
    theirs = model.get_outputs_for_camera(to_nerfstudio(seen_by))
    for part in PARTS:
        expected = theirs[part + suffix].reshape(getattr(ours, part).shape)
        assert expected.std() > 1e-3, f"{part} is flat: nothing is compared"
        torch.testing.assert_close(getattr(ours, part), expected, atol=1e-4, rtol=1e-4)
    check_radiance_field(field, seen_by.image_rays())


def check_chunks(field_class, model):
    """The number of rays at once does not matter."""
    rays = camera().image_rays()
    whole = field_class(model).render(rays)
    for size in (1, 7, len(rays)):
        parts = field_class(model, rays_per_chunk=size).render(rays)
        for name in (*PARTS, "positions", "weights"):
            torch.testing.assert_close(
                getattr(parts, name), getattr(whole, name), atol=1e-4, rtol=1e-4
            )
    with pytest.raises(ValueError, match="positive"):
        field_class(model, rays_per_chunk=0)


def check_keep(field_class, model, suffix=""):
    """``keep`` changes the densities of all networks: as if the model itself lacked the rest.

    Changes the model.
    """
    field = field_class(model)
    cameras = to_nerfstudio(camera())
    everything = field.render_bundle(_bundle(cameras), lambda positions: positions[..., 0] * 0 + 1)
    nothing = field.render_bundle(_bundle(cameras), lambda positions: positions[..., 0] * 0)
    kept = field.render_bundle(_bundle(cameras), _keep)
    whole = field.render(camera().image_rays())
    for part in PARTS:
        torch.testing.assert_close(
            getattr(everything, part), getattr(whole, part), atol=1e-4, rtol=1e-4
        )
    assert nothing.accumulation.abs().max() == 0
    assert (kept.weights[kept.positions[..., 0] > 0.05] == 0).all()
    assert kept.weights.max() > 0.01
    for network in model.modules():
        if isinstance(network, Field):
            _cut(network)
    theirs = model.get_outputs_for_camera(cameras)
    for part in PARTS:
        expected = theirs[part + suffix].reshape(getattr(kept, part).shape)
        assert not torch.allclose(expected, getattr(whole, part), atol=1e-2), part
        torch.testing.assert_close(getattr(kept, part), expected, atol=1e-4, rtol=1e-4)


def check_fingerprint(field_class, make, shaping, training_only):
    """Fields that render differently have different fingerprints.

    Args:
        make: returns a model of a config; always the same one.
        shaping: configs, the usual one first; each renders differently.
        training_only: a config that renders like the first one.
    """
    made = [field_class(make(config)).fingerprint for config in shaping]
    assert len(set(made)) == len(made)
    assert field_class(make(training_only)).fingerprint == made[0]
    model = make(shaping[0])
    with torch.no_grad():
        next(p for p in model.parameters() if p.numel() and p.requires_grad).flatten()[0] += 1e-4
    assert field_class(model).fingerprint != made[0]


def _keep(positions):
    return 0.7 * (positions[..., 0] < 0).to(positions)


def _cut(network):
    whole = network.get_density

    def cut(samples):
        found = whole(samples)
        share = _keep(samples.frustums.get_positions())[..., None]
        return (found[0] * share, found[1]) if isinstance(found, tuple) else found * share

    network.get_density = cut


def _bundle(cameras: Cameras):
    return cameras.generate_rays(camera_indices=0, keep_shape=True).flatten()
