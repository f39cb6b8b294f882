"""The protocol of a promptable 2D segmenter: all that the segmentation needs of SAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

LOGITS_SIZE = 256
"""Side of the square mask prompt, as in SAM."""


@dataclass(frozen=True)
class MaskPrediction:
    """K candidate masks for one prompt, by growing area.

    Attributes:
        masks: [K, H, W] bool at the image's size.
        scores: [K] float32, predicted IoU in [0, 1].
        logits: [K, 256, 256] float32, mask logits of the whole image stretched to a square;
            positive on the object. ``predict`` takes one of them as a mask prompt.
    """

    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray


@runtime_checkable
class PromptableSegmenter(Protocol):
    """A segmenter that answers prompts about one image at a time, in SAM's conventions.

    ``set_image`` or ``restore_state`` sets the current image, which ``predict`` then segments any
    number of times. Points are pixel indices ``(x, y)``, x to the right and y down; boxes are
    ``x0, y0, x1, y1``, last pixel included. ``sa3d.testing.segmenter_contract`` checks an
    implementation. A segmenter may also implement ``LearnsAppearance`` and ``EncodesBatches``.

    Example:
        >>> segmenter.set_image(image)  # [480, 640, 3] uint8
        >>> first = segmenter.predict(np.array([[412, 233]]), np.array([1]), multimask_output=True)
        >>> best = first.scores.argmax()
        >>> again = segmenter.predict(mask_logits=first.logits[best])
        >>> again.masks.shape
        (1, 480, 640)
    """

    @property
    def name(self) -> str:
        """Name of the model and its weights; image encodings are cached under this name."""
        ...

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image and make it the current one.

        Args:
            image: [H, W, 3] uint8 RGB.

        Raises:
            ValueError: the array has another shape or type.
        """
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
            point_coords: [N, 2] pixel indices (x, y).
            point_labels: [N] 1 on the object, 0 beside it.
            box: [4] x0, y0, x1, y1, pixel indices.
            mask_logits: [256, 256] as in ``MaskPrediction.logits``.
            multimask_output: return three nested candidates instead of one.

        Raises:
            RuntimeError: there is no current image.
            ValueError: the prompt is empty, or an array has a wrong shape or wrong values.
        """
        ...

    def save_state(self) -> Mapping[str, np.ndarray]:
        """Return the encoding of the current image as arrays that can be stored.

        Raises:
            RuntimeError: there is no current image.
        """
        ...

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Make the image of a stored encoding the current one, without encoding again.

        Args:
            state: as ``save_state`` of a segmenter with the same ``name`` returned it.
        """
        ...


@runtime_checkable
class LearnsAppearance(Protocol):
    """A segmenter that learns the appearance of an object from other views (optional).

    SAM's weights contain what objects look like. A segmenter without weights can learn this from
    the views that were accepted before.
    """

    def sample_appearance(self, mask: np.ndarray) -> np.ndarray:
        """Sample the appearance of an object and its surroundings in the current image.

        Args:
            mask: [H, W] bool, an accepted mask of the object.

        Returns:
            [2, N, 3] uint8 RGB, the object first; N is the same for all masks.

        Raises:
            RuntimeError: there is no current image.
            ValueError: the mask is empty or of another size.
        """
        ...

    def set_appearance(self, samples: np.ndarray | None) -> None:
        """Set the appearance that the next predictions use.

        Args:
            samples: [V, 2, N, 3] uint8, from ``sample_appearance`` in V other views; None to unset.
        """
        ...


@runtime_checkable
class EncodesBatches(Protocol):
    """A segmenter that encodes several images faster at once than one by one (optional)."""

    batch_size: int
    """Number of images to encode at once on this device; 1 if larger batches are not faster."""

    def encode_images(self, images: Sequence[np.ndarray]) -> Sequence[Mapping[str, np.ndarray]]:
        """Encode images without changing the current one.

        Args:
            images: [H, W, 3] uint8 RGB each, of any sizes.

        Returns:
            For each image the state that ``save_state`` returns after ``set_image``, up to
            rounding.
        """
        ...
