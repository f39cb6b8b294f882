"""The model of ``ns-train sa3d``: the frozen field, with the segmentation shown in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizer
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes
from nerfstudio.model_components.renderers import RGBRenderer
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.viewer.viewer_elements import ViewerDropdown
from torch import Tensor
from torch.nn import Parameter

from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.display.overlays import decided, nearest, overlay
from nerfstudio_plugin.display.renderer import DisplayRenderer
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.display.viewer_request import current_request
from nerfstudio_plugin.runs.opening import Run
from sa3d.base.errors import SA3DError
from sa3d.fields.radiance_field import FieldRender

ALL_OBJECTS = "all"
"""The choice that shows all objects."""

_MIN_LIGHT = 0.001
"""Share of a ray's light from an object below which removing it changes nothing visible."""


@dataclass
class SA3DModelConfig(ModelConfig):
    """Settings of how a segmentation is shown."""

    _target: type = field(default_factory=lambda: SA3DModel)
    enable_collider: bool = False
    """The field has its own."""
    background: Literal["white", "black"] = "white"
    """Color behind an object shown alone."""
    shown_object: str = ALL_OBJECTS
    """Name of the object shown at first, or all."""


class SA3DModel(Model):
    """Renders the frozen field, and objects in it: masks, alone, removed, and in color.

    The field is not part of the module tree: its weights are in no checkpoint and no optimizer, and
    ``train()`` does not reach it.

    Outputs, [R, C] each, in [0, 1] except for the depth:

    - ``rgb``, ``accumulation``, ``depth``: as the field renders them;
    - ``mask``: the probability that a pixel shows the chosen object;
    - ``mask_<name>``: the same for each of several objects;
    - ``object_rgb``: the chosen object alone;
    - ``removed_rgb``: the scene without it;
    - ``overlay``: all objects in color.

    With a ``display``, a camera's outputs are only ``rgb``, rendered as the display asks, ``depth``
    and ``accumulation``.
    """

    config: SA3DModelConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, config: SA3DModelConfig, run: Run, names: list[str]) -> None:
        """Show a run without objects; see ``show``.

        Args:
            names: of the objects that will be shown.
        """
        self._run = (run,)  # in a tuple: nn.Module must not find the field's model
        base = run.model
        super().__init__(config, base.scene_box, base.num_train_data)
        self.to(base.device)
        self.shown: ShownObjects | None = None
        self.display: Display | None = None
        self._renderer = DisplayRenderer(run.field, self._background())
        self.object_choice: ViewerDropdown[str] = ViewerDropdown(
            "Object", ALL_OBJECTS, [ALL_OBJECTS], hint="which object is cut out"
        )
        self._offer(names)

    def show(self, shown: ShownObjects) -> None:
        """Show these objects from now on.

        Raises:
            SA3DError: the object chosen by ``SA3DModelConfig.shown_object`` is not among them.
        """
        if self.shown is None or self.shown.names != shown.names:
            self._offer(shown.names)
        self.shown = shown

    def _offer(self, names: list[str]) -> None:
        options = [ALL_OBJECTS, *names]
        if names and self.config.shown_object not in options:
            raise SA3DError(
                f"no object {self.config.shown_object!r} to show; there are: {', '.join(options)}"
            )
        self.object_choice.set_options(options)
        if names and self.object_choice.gui_handle is None:
            self.object_choice.default_value = self.config.shown_object

    @property
    def renderer_rgb(self) -> RGBRenderer:
        """The field's renderer, for Nerfstudio's helpers."""
        return self._run[0].model.renderer_rgb  # pyright: ignore[reportReturnType]

    @property
    def camera_optimizer(self) -> CameraOptimizer:
        """The field's optimizer, so that the viewer draws cameras where training moved them."""
        return self._run[0].model.camera_optimizer  # pyright: ignore[reportReturnType]

    @torch.no_grad()
    def get_outputs_for_camera(
        self, camera: Cameras, obb_box: OrientedBox | None = None
    ) -> dict[str, Tensor]:
        """Render a camera's outputs; see the class.

        With a ``display``, the viewer's requests for a small image get a larger ``rgb``.
        """
        display = self.display
        if display is None:
            return super().get_outputs_for_camera(camera, obb_box)
        outputs = self._renderer.outputs(current_request(camera), display, self.shown, obb_box)
        size = int(camera.height), int(camera.width)
        return {
            name: image if name == "rgb" else nearest(image, *size)
            for name, image in outputs.items()
        }

    def forward(self, ray_bundle: RayBundle | Cameras) -> dict[str, Any]:
        """Render rays; see the class for the outputs."""
        return self.get_outputs(ray_bundle)

    @torch.no_grad()
    def get_outputs(self, ray_bundle: RayBundle | Cameras) -> dict[str, Any]:
        """Render R rays; see the class for the outputs."""
        assert isinstance(ray_bundle, RayBundle)
        shown = self.shown
        base = self._run[0].field.render_bundle(ray_bundle)
        outputs = {
            "rgb": base.rgb,
            "accumulation": base.accumulation[:, None],
            "depth": base.depth[:, None],
        }
        if shown is None:
            nothing = torch.zeros_like(outputs["accumulation"])
            empty = self._background().expand_as(base.rgb)
            return outputs | {
                "mask": nothing,
                "object_rgb": empty,
                "removed_rgb": base.rgb,
                "overlay": base.rgb,
            }
        masks = shown.masks(base.positions, base.weights)
        chosen = self._chosen(shown)
        column = shown.names.index(chosen[0]) if len(chosen) == 1 else -1
        blocks = tuple(block for name in chosen if (block := shown.blocks[name]) is not None)
        colors = shown.palette(range(len(shown.names)))
        objects, rest = self._cut_out(ray_bundle, base, Blocks(blocks))
        outputs |= {
            "mask": masks[:, column, None],
            "object_rgb": objects,
            "removed_rgb": rest,
            "overlay": overlay(base.rgb, masks[:, :-1], colors, threshold=0.5),
        }
        if len(shown.names) > 1:
            outputs |= {f"mask_{name}": masks[:, i, None] for i, name in enumerate(shown.names)}
        return outputs

    def _chosen(self, shown: ShownObjects) -> list[str]:
        choice = self.object_choice.value
        return [choice] if choice in shown.names else shown.names

    def _background(self) -> Tensor:
        return torch.full((3,), float(self.config.background == "white"), device=self.device)

    def _cut_out(
        self, bundle: RayBundle, base: FieldRender, blocks: Blocks
    ) -> tuple[Tensor, Tensor]:
        """Render the objects alone, and the scene without them, [R, 3] each, near the objects."""
        background = self._background()
        objects, rest = background.expand_as(base.rgb).clone(), base.rgb.clone()
        near = blocks.meet(bundle.origins, bundle.directions)

        def inside(positions: Tensor) -> Tensor:
            return blocks.contain(positions).to(positions)

        field = self._run[0].field
        if near.any():
            objects[near] = field.render_bundle(bundle[near], inside, background).rgb
            light = (base.weights[near] * inside(base.positions[near])).sum(dim=-1)
            near[near.clone()] = light > _MIN_LIGHT  # hidden objects change nothing
        if near.any():
            rest[near] = field.render_bundle(bundle[near], lambda x: 1 - inside(x)).rgb
        return objects, rest

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """Return an image [H, W, 4] that is opaque where the mask is object.

        Raises:
            SA3DError: the chosen object is empty.
        """
        shown = self.shown
        if shown is None or not any(shown.blocks[name] for name in self._chosen(shown)):
            raise SA3DError("the object is empty, so there is nothing to cut out: add prompts")
        return torch.cat([outputs[output_name], decided(outputs["mask"])], dim=-1)

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Return no parameters: the field is frozen."""
        return {}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Return no callbacks."""
        return []

    def get_loss_dict(
        self, outputs: Any, batch: Any, metrics_dict: Any = None
    ) -> dict[str, Tensor]:
        """Return no losses; see ``SA3DPipeline.get_train_loss_dict``."""
        return {}

    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Any]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Measure the field's PSNR on a photo [H, W, 3], and the object's share of the image."""
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device))
        error = torch.mean((outputs["rgb"].clamp(0, 1) - truth) ** 2)
        mask = outputs["mask"]
        metrics = {
            "psnr": float(-10 * torch.log10(error.clamp_min(1e-10))),
            "object_share": float((mask > 0.5).float().mean()),
        }
        images = {
            "img": torch.cat([truth, outputs["overlay"]], dim=1),
            "mask": mask.expand(-1, -1, 3),
        }
        return metrics, images
