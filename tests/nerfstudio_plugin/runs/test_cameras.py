import pytest
import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.cameras import Cameras, CameraType

from nerfstudio_plugin.runs.cameras import from_nerfstudio, to_nerfstudio, with_pose_correction
from sa3d.base.errors import SA3DError

PHONE = (0.0578, -0.0805, 0.0, 0.0, -0.00098, 0.00016)
WIDE = (-0.18, 0.03, -0.004, 0.001, 0.002, -0.003)


def rotation(seed):
    generator = torch.Generator().manual_seed(seed)
    orthogonal, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    return orthogonal * torch.det(orthogonal)


def batch(distortion=None, camera_type=CameraType.PERSPECTIVE):
    poses = [torch.cat([rotation(seed), torch.randn(3, 1)], dim=1) for seed in range(3)]
    return Cameras(
        camera_to_worlds=torch.stack(poses),
        fx=torch.tensor([[40.0], [41.0], [42.0]]),
        fy=torch.tensor([[43.0], [44.0], [45.0]]),
        cx=torch.tensor([[24.5], [23.0], [25.0]]),
        cy=torch.tensor([[15.0], [16.5], [17.0]]),
        width=torch.tensor([[48], [48], [50]]),
        height=torch.tensor([[32], [32], [33]]),
        distortion_params=None if distortion is None else torch.tensor([distortion] * 3),
        camera_type=camera_type,
    )


@pytest.mark.parametrize("distortion", [None, PHONE, WIDE])
@pytest.mark.parametrize("position", [0, 2])
def test_rays_are_nerfstudios(distortion, position):
    cameras = batch(distortion)
    camera = from_nerfstudio(cameras, position, index=7)
    rays = camera.image_rays()
    theirs = cameras[position : position + 1].generate_rays(0, keep_shape=True).flatten()
    assert (camera.index, len(rays)) == (7, camera.width * camera.height)
    torch.testing.assert_close(rays.origins, theirs.origins, atol=1e-5, rtol=0)
    torch.testing.assert_close(rays.directions, theirs.directions, atol=1e-5, rtol=0)
    if distortion is not None:  # the comparison above must be able to fail
        straight = from_nerfstudio(batch(), position).image_rays()
        assert (rays.directions - straight.directions).abs().max() > 1e-3


@pytest.mark.parametrize("distortion", [None, PHONE])
def test_round_trip(distortion):
    camera = from_nerfstudio(batch(distortion), 1, index=4)
    again = from_nerfstudio(to_nerfstudio(camera), 0, index=4)
    torch.testing.assert_close(again.c2w, camera.c2w)
    for name in ("fx", "fy", "cx", "cy", "width", "height", "index", "distortion"):
        assert getattr(again, name) == pytest.approx(getattr(camera, name))


def test_zero_distortion_is_a_pinhole():
    assert from_nerfstudio(batch((0.0,) * 6), 0).distortion is None


@pytest.mark.parametrize("kind", [CameraType.FISHEYE, CameraType.EQUIRECTANGULAR])
def test_other_camera_models_are_refused(kind):
    with pytest.raises(SA3DError, match=f"{kind.name.lower()}.*perspective"):
        from_nerfstudio(batch(camera_type=kind), 0)


@pytest.mark.parametrize("mode", ["SO3xR3", "SE3"])
def test_pose_correction_is_what_training_applied(mode):
    cameras = batch(PHONE)
    optimizer = CameraOptimizerConfig(mode=mode).setup(num_cameras=3, device="cpu")
    torch.nn.init.normal_(optimizer.pose_adjustment, std=0.1)
    bundle = cameras[2:3].generate_rays(0, keep_shape=True).flatten()
    bundle.set_camera_indices(2)
    with torch.no_grad():
        optimizer.apply_to_raybundle(bundle)
        correction = optimizer.get_correction_matrices()[2]
    rays = with_pose_correction(from_nerfstudio(cameras, 2), correction).image_rays()
    torch.testing.assert_close(rays.origins, bundle.origins, atol=1e-5, rtol=0)
    torch.testing.assert_close(rays.directions, bundle.directions, atol=1e-5, rtol=0)
    uncorrected = from_nerfstudio(cameras, 2).image_rays()
    assert (rays.directions - uncorrected.directions).abs().max() > 1e-2
