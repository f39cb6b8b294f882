"""Converts Nerfstudio's ``Cameras`` to ``Camera`` and back; both OpenGL, both in world units."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.geometry.camera import Camera

_LONGEST_SIDE = 1 << 16
"""Pixels; JPEG holds no more."""


def from_nerfstudio(cameras: Cameras, position: int, *, index: int = -1) -> Camera:
    """Return one camera of a batch.

    Args:
        cameras: batch of shape [N].
        position: which of the N.
        index: the ``index`` of the returned ``Camera``.

    Raises:
        SA3DError: the camera is not a perspective camera, or its numbers make none.
    """
    kind = CameraType(int(cameras.camera_type[position].item()))
    if kind is not CameraType.PERSPECTIVE:
        raise SA3DError(
            f"the scene has {kind.name.lower()} cameras; only perspective cameras (with or without "
            "OpenCV lens distortion) can be segmented: undistort the photos and train on those"
        )
    distortion = None
    if cameras.distortion_params is not None:
        k1, k2, k3, k4, p1, p2 = cameras.distortion_params[position].tolist()
        if any((k1, k2, k3, k4, p1, p2)):
            distortion = (k1, k2, k3, k4, p1, p2)
    camera = Camera(
        c2w=cameras.camera_to_worlds[position].detach().cpu().to(torch.float32),
        fx=float(cameras.fx[position].item()),
        fy=float(cameras.fy[position].item()),
        cx=float(cameras.cx[position].item()),
        cy=float(cameras.cy[position].item()),
        width=int(cameras.width[position].item()),
        height=int(cameras.height[position].item()),
        index=index,
        distortion=distortion,
    )
    _check(camera, position)
    return camera


def _check(camera: Camera, position: int) -> None:
    """Check that a camera can have taken a photo.

    Raises:
        SA3DError: it cannot.
    """
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *(camera.distortion or ()))
    if not (torch.isfinite(camera.c2w).all() and all(map(math.isfinite, numbers))):
        problem = "holds NaN or infinity"
    elif min(camera.fx, camera.fy) <= 0:
        problem = f"has the focal lengths {camera.fx:g} and {camera.fy:g}"
    elif not (0 < camera.width <= _LONGEST_SIDE and 0 < camera.height <= _LONGEST_SIDE):
        problem = f"has {camera.width} x {camera.height} pixels"
    elif not 1e-6 < abs(torch.linalg.det(camera.c2w[:, :3].double()).item()) < 1e6:
        problem = "has a pose without three axes"
    else:
        return
    raise SA3DError(f"camera {position} of the data {problem}: restore the file of the cameras")


def to_nerfstudio(camera: Camera) -> Cameras:
    """Return the same camera as a batch of shape [1]."""
    distortion = None
    if camera.distortion is not None:
        distortion = torch.tensor([camera.distortion], dtype=torch.float32)
    return Cameras(
        camera_to_worlds=camera.c2w.detach().cpu().to(torch.float32)[None],
        fx=torch.tensor([[camera.fx]]),
        fy=torch.tensor([[camera.fy]]),
        cx=torch.tensor([[camera.cx]]),
        cy=torch.tensor([[camera.cy]]),
        width=torch.tensor([[camera.width]]),
        height=torch.tensor([[camera.height]]),
        distortion_params=distortion,
        camera_type=CameraType.PERSPECTIVE,
    )


def with_pose_correction(camera: Camera, correction: Tensor) -> Camera:
    """Return a camera at the position that training moved it to.

    Nerfacto refines the cameras of its training photos together with the field. Photo and field
    agree at the refined camera, not at the data set's.

    Args:
        camera: a training camera as the data set has it.
        correction: [3, 4], the value of the model's camera optimizer: a rotation applied to ray
            directions and a translation added to ray origins, both in the world frame.
    """
    delta = correction.detach().cpu().to(torch.float32)
    rotation = delta[:, :3] @ camera.c2w[:, :3]
    position = camera.c2w[:, 3:] + delta[:, 3:]
    return replace(camera, c2w=torch.cat([rotation, position], dim=1))
