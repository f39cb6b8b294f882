"""A red ball in front of a blue wall, as a field that renders Nerfstudio's rays and counts them."""

from __future__ import annotations

import torch
from nerfstudio.cameras.cameras import Cameras

from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.runs.cameras import to_nerfstudio
from sa3d.fields.radiance_field import FieldRender
from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Camera
from sa3d.scene.elements import Elements, MaskGrid

RED, BLUE = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
GRID = MaskGrid(Bounds("box", ((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0))), 40)
RADIUS = 0.5


def in_ball(positions):
    return positions.norm(dim=-1) < RADIUS


def in_wall(positions):
    return positions[..., 2] < -1


class BallAndWall:
    """Opaque, sampled every few hundredths; ``fails`` is raised by the next evaluation."""

    rays_per_chunk = 64

    def __init__(self):
        self.rays = 0
        self.fails = []

    def render_bundle(self, bundle, keep=None, background=None):
        if self.fails:
            raise self.fails.pop()
        self.rays += len(bundle)
        distances = torch.linspace(1, 4.5, 71).expand(len(bundle), -1)
        positions = bundle.origins[:, None] + distances[..., None] * bundle.directions[:, None]
        solid = (in_ball(positions) | in_wall(positions)).float()
        alphas = 0.9 * (solid if keep is None else solid * keep(positions))
        passed = torch.cumprod(1 - alphas, dim=-1)
        weights = alphas * torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=-1)
        colors = torch.where(in_ball(positions)[..., None], RED, BLUE)
        accumulation = weights.sum(dim=-1)
        behind = colors[:, -1] if background is None else background
        rgb = (weights[..., None] * colors).sum(dim=1) + (1 - accumulation[:, None]) * behind
        half = (weights.cumsum(dim=-1) < 0.5).sum(dim=-1).clamp_max(70)
        depth = distances.gather(1, half[:, None])[:, 0]
        return FieldRender(rgb, depth, accumulation, positions, weights, colors)


def camera_at(x=0.0, height=24, width=30) -> Cameras:
    """Looks at the ball from three units above it; the ball is some 10 pixels across."""
    c2w = torch.tensor([[1.0, 0.0, 0.0, x], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]])
    focal = 1.25 * height
    return to_nerfstudio(
        Camera(c2w=c2w, fx=focal, fy=focal, cx=width / 2, cy=height / 2, width=width, height=height)
    )


def objects(blocks, **shares) -> ShownObjects:
    """Objects over all voxels of the grid: by name, the share [N] as a function of positions."""
    elements = Elements(GRID, torch.arange(GRID.resolution**3))
    positions = elements.positions_world
    columns = [share(positions).float() for share in shares.values()]
    return ShownObjects("ball and wall", elements, torch.stack(columns, dim=-1), blocks)
