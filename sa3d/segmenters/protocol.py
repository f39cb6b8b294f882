"""What the segmentation needs from SAM: a protocol any promptable 2D segmenter can fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

LOGITS_SIZE = 256
"""Side of the square low-resolution mask prompt, as in SAM."""


@dataclass(frozen=True)
class MaskPrediction:
    """K candidate masks for one prompt.

    Attributes:
        masks: [K, H, W] bool at the image's size.
        scores: [K] float32, predicted IoU in [0, 1].
        logits: [K, 256, 256] float32, low-resolution mask logits over the *whole image stretched to
            the square*; positive is object. Can be handed back as a mask prompt.
    """

    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray


@runtime_checkable
class PromptableSegmenter(Protocol):
    """SAM's conventions: points ``(x, y)`` in pixel indices, labels 1 / 0, boxes XYXY.

    One image at a time: ``set_image`` (or ``restore_state``), then many ``predict``.
    """

    @property
    def name(self) -> str:
        """Names the model and its weights; part of the key under which image states are cached."""
        ...

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image, [H, W, 3] uint8 RGB."""
        ...

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        *,
        multimask_output: bool = False,
    ) -> MaskPrediction:
        """Segment the prompted object in the current image.

        Args:
            point_coords: [N, 2] (x, y), pixel indices.
            point_labels: [N] 1 object, 0 background.
            box: [4] x0, y0, x1, y1, pixel indices.
            mask_logits: [256, 256], convention of ``MaskPrediction``.
            multimask_output: three nested candidates instead of one.

        Raises:
            RuntimeError: no image was set.
            ValueError: no prompt at all, or arrays of the wrong shape.
        """
        ...

    def save_state(self) -> Mapping[str, np.ndarray]:
        """The current image's encoding, as arrays that can be stored (may be empty of cost)."""
        ...

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Bring back an encoding without encoding again."""
        ...


@runtime_checkable
class LearnsAppearance(Protocol):
    """Optional: a segmenter that can be told what an object looks like in other views.

    SAM knows what things look like from its weights; a segmenter without weights can learn it from
    the views already accepted.
    """

    def sample_appearance(self, mask: np.ndarray) -> np.ndarray:
        """What object and background look like in the current image.

        Args:
            mask: [H, W] bool, an accepted mask of the object in the current image.

        Returns:
            [2, N, 3] uint8 RGB samples, object first then its surroundings; N is fixed.
        """
        ...

    def set_appearance(self, samples: np.ndarray | None) -> None:
        """Use samples [V, 2, N, 3] of V other views in the coming predictions; None forgets."""
        ...


@runtime_checkable
class EncodesBatches(Protocol):
    """Optional: a segmenter that encodes several images faster together than one by one."""

    batch_size: int
    """How many images are worth encoding at once on this device; 1 if more gain nothing."""

    def encode_images(self, images: Sequence[np.ndarray]) -> Sequence[Mapping[str, np.ndarray]]:
        """Encode images [H, W, 3] uint8 RGB, of any sizes; the current image stays what it is.

        Returns:
            For each image what ``save_state`` gives after ``set_image``, up to rounding.
        """
        ...
