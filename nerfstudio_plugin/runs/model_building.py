"""Builds a run's model and loads its weights, without a GPU if need be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nerfstudio.field_components.encodings
import nerfstudio.field_components.mlp
import nerfstudio.fields.sdf_field
import torch
import torchmetrics.image.lpip
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.utils.external import TCNN_EXISTS
from torch import Tensor, nn

from nerfstudio_plugin.fields.config import Tcnn
from nerfstudio_plugin.fields.cpu_modules import speed_up
from nerfstudio_plugin.runs.checkpoint_file import Implementation, implementation_of
from nerfstudio_plugin.runs.weight_layouts import check_keys
from sa3d.base.errors import SA3DError
from sa3d.tcnn import binding

_USERS_OF_TCNN: tuple[Any, ...] = (
    nerfstudio.field_components.encodings,
    nerfstudio.field_components.mlp,
    nerfstudio.fields.sdf_field,
)
"""Nerfstudio's modules that use tiny-cuda-nn."""


@contextmanager
def without_lpips() -> Iterator[None]:
    """Keep models built in this context from making LPIPS, which downloads 233 MB of weights.

    Nerfacto imports the class when it is built, and uses it for evaluation metrics only.
    """
    module = torchmetrics.image.lpip
    original = module.LearnedPerceptualImagePatchSimilarity
    module.LearnedPerceptualImagePatchSimilarity = _NoLpips  # pyright: ignore
    try:
        yield
    finally:
        module.LearnedPerceptualImagePatchSimilarity = original


class _NoLpips(nn.Module):
    def __init__(self, normalize: bool = False) -> None:
        super().__init__()

    def forward(self, *images: Tensor) -> Tensor:
        raise SA3DError("LPIPS is not loaded with a run opened for segmentation; use ns-eval")


@contextmanager
def tcnn_modules(
    implementation: Implementation, tcnn: Tcnn, device: torch.device
) -> Iterator[None]:
    """Make models built in this context have the modules that their weights belong to.

    Weights of tiny-cuda-nn belong to its own modules, or to ``sa3d.tcnn``, which computes the same
    in torch and has the same names and shapes.

    Args:
        implementation: of the weights.
        tcnn: evaluates weights of tiny-cuda-nn.
        device: where the model is evaluated.

    Raises:
        SA3DError: native tiny-cuda-nn is asked for, and not to be had.
    """
    possible = bool(TCNN_EXISTS) and device.type == "cuda"
    if implementation == "tcnn" and tcnn == "native" and not possible:
        raise SA3DError(
            "'fields.tcnn' is native, which needs "
            f"{'the device cuda' if TCNN_EXISTS else 'the package tinycudann'}; choose torch"
        )
    if implementation == "tcnn" and possible and tcnn != "torch":
        yield
        return
    replaced = {"tcnn": binding, "TCNN_EXISTS": implementation == "tcnn"}
    originals = [
        (module, name, getattr(module, name))
        for module in _USERS_OF_TCNN
        for name in replaced
        if hasattr(module, name)
    ]
    for module, name, _ in originals:
        setattr(module, name, replaced[name])
    try:
        yield
    finally:
        for module, name, original in originals:
            setattr(module, name, original)


def build_model(
    config: ModelConfig,
    weights: dict[str, Tensor],
    data: DataparserOutputs,
    tcnn: Tcnn,
    device: torch.device,
    step: int = 0,
) -> Model:
    """Build a model as ns-train does, and load its weights.

    Args:
        config: of the model; its ``implementation`` is set to that of the weights.
        weights: all of its weights, on the CPU.
        data: what the model was trained on.
        tcnn: which implementation of tiny-cuda-nn to use.
        device: where the model is evaluated.
        step: training step of the weights; some models grow while they are trained.

    Returns:
        The model in evaluation mode, frozen, on the device.

    Raises:
        RuntimeError, AttributeError, AssertionError, LookupError, TypeError: the weights do not
            fit the config under this Nerfstudio.
        SA3DError: tiny-cuda-nn is needed and cannot be had, or its options are not supported.
    """
    implementation = implementation_of(weights)
    if hasattr(config, "implementation"):
        config.implementation = implementation  # pyright: ignore
    with without_lpips(), tcnn_modules(implementation, tcnn, device):
        model = config.setup(
            scene_box=data.scene_box,
            num_train_data=len(data.image_filenames),
            metadata=data.metadata,
            device=device,
            grad_scaler=None,
            seed_points=None,
        )
        model.update_to_step(step)
    check_keys(weights, model.state_dict())
    model.load_state_dict(weights, strict=True)
    speed_up(model)
    return model.to(device).eval().requires_grad_(False)
