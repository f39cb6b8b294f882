"""The closed form on the rays of a nerfacto that Nerfstudio trained."""

import pytest
import torch

from nerfstudio_plugin.demo.data import DEMO_SCENES, open_demo
from nerfstudio_plugin.runs.opening import open_run
from sa3d.evaluation.baselines import sa3d_gradient_step
from sa3d.objects.checkpoint import read_bitmap
from sa3d.scene.elements import MaskGrid
from sa3d.scene.view_operator import build_view_operator
from sa3d.testing.autograd_reference import autograd_step


@pytest.mark.parametrize("name", DEMO_SCENES)
def test_closed_form_is_autograds_gradient_step(name):
    demo = open_demo(name)
    run = open_run(demo.load_config, data=demo.folder, device="cpu")
    view = run.views[20]
    camera = view.camera.fitted(48)
    grid = MaskGrid(run.field.bounds, 256)
    operator, _ = build_view_operator(run.field, camera, grid, min_weight=0.0)
    operator = operator.bind(operator.keys)
    assert len(operator.col) > 10 * operator.num_rays, "light spreads over many elements"
    masks = sorted((demo.folder / "masks_gt").iterdir())
    stem = view.name.rpartition("/")[2].partition(".")[0]
    exact = torch.from_numpy(read_bitmap(masks[0] / f"{stem}.png"))[None, None].float()
    share = torch.nn.functional.interpolate(exact, (camera.height, camera.width), mode="area")
    for lam in (0.3, 1.0):
        step = sa3d_gradient_step(operator, share.reshape(-1), lam)
        expected = autograd_step(operator, share.reshape(-1), lam)
        torch.testing.assert_close(
            step, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())
        )
        assert (step > 0).any()
        assert (step < 0).any()
