"""A run on a GPU renders as on the CPU."""

import pytest
import torch

from nerfstudio_plugin.runs.opening import open_run

pytestmark = pytest.mark.gpu


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_run_renders_as_on_the_cpu(tiny_run):
    on_gpu, on_cpu = (open_run(tiny_run, device=device) for device in ("cuda", "cpu"))
    rays = on_cpu.views[1].camera.image_rays()
    ours, expected = on_gpu.field.render(rays), on_cpu.field.render(rays)
    assert ours.rgb.device.type == "cuda"
    assert on_gpu.field.fingerprint == on_cpu.field.fingerprint
    for part in ("rgb", "accumulation", "weights"):
        torch.testing.assert_close(
            getattr(ours, part).cpu(), getattr(expected, part), atol=2e-3, rtol=2e-3
        )
