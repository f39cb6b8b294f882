"""A text detector with known answers and errors on purpose, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sa3d.detectors.protocol import Detections, checked_words


class OracleDetector:
    """A detector with the boxes of named objects; for other words, scores are low.

    Args:
        images: [H, W, 3] uint8 each, by view.
        masks: by view, the masks [H, W] bool of the objects by name.
        wrong: by view, further boxes (x0, y0, x1, y1, edges) with scores, detected for any words.
        missed: views without a correct detection.
        score: of correct detections.
        with_masks: return masks, as SAM 3 does.
    """

    name = "oracle"
    threshold = 0.25

    def __init__(
        self,
        images: Mapping[str, np.ndarray],
        masks: Mapping[str, Mapping[str, np.ndarray]],
        wrong: Mapping[str, Sequence[tuple[tuple[float, ...], float]]] | None = None,
        missed: Sequence[str] = (),
        score: float = 0.5,
        *,
        with_masks: bool = False,
    ) -> None:
        self._views = {image.tobytes(): view for view, image in images.items()}
        self._masks, self._wrong, self._missed = masks, wrong or {}, missed
        self._score, self._with_masks = score, with_masks

    def detect(self, image: np.ndarray, text: str) -> Detections:
        """Detect all objects named ``text`` with a high score, and the others with 0.1."""
        words, view = checked_words(text), self._views[image.tobytes()]
        found: list[tuple[tuple[float, ...], float, np.ndarray]] = []
        for name, mask in self._masks[view].items():
            if mask.any():
                right = name == words and view not in self._missed
                found.append((_edges(mask), self._score if right else 0.1, mask))
        for box, score in self._wrong.get(view, ()):
            mask = np.zeros(image.shape[:2], bool)
            mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
            found.append((box, score, mask))
        found.sort(key=lambda one: -one[1])
        return Detections(
            np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
            np.array([score for _, score, _ in found], np.float32),
            np.array([mask for _, _, mask in found]) if self._with_masks and found else None,
        )


def _edges(mask: np.ndarray) -> tuple[float, ...]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
