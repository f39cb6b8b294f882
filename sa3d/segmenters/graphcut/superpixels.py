"""Superpixels of a region and geodesic distances over them: how far a click's word carries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COMPACTNESS = 6.0
LAB_WEIGHTS = (0.7, 1.2, 1.2)
"""Lightness counts less than hue, so that a shadow on an object does not end it."""

FREE_STEP = 1.0
"""Color difference between neighbours that costs nothing."""

SEED_COLOR_COST = 0.12
STEP_COST = 0.25
"""Weights of the geodesic's terms, tuned with COMPACTNESS and LAB_WEIGHTS on 27 photos."""


@dataclass(frozen=True)
class Superpixels:
    """Superpixels of a picture.

    Attributes:
        labels: [h, w] int32, 0 .. S-1.
        colors: [S, 3] mean weighted Lab.
        edges: [E, 2] neighbouring pairs, each once.
        border: [E] pixels of common border.
        areas: [S] pixels.
    """

    labels: np.ndarray
    colors: np.ndarray
    edges: np.ndarray
    border: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray, count: int) -> Superpixels:
        """Segment a picture [h, w, 3] uint8 into about ``count`` superpixels."""
        import cv2
        from skimage.segmentation import slic

        smooth = cv2.bilateralFilter(rgb, 7, 35, 5)
        lab = cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        lab *= np.array(LAB_WEIGHTS, np.float32)
        labels = slic(
            lab,
            n_segments=count,
            compactness=COMPACTNESS,
            convert2lab=False,
            start_label=0,
            channel_axis=-1,
        ).astype(np.int32)
        return cls.from_labels(labels, lab)

    @classmethod
    def from_labels(cls, labels: np.ndarray, lab: np.ndarray) -> Superpixels:
        """Gather what is known about the superpixels ``labels`` of a picture ``lab`` [h, w, 3]."""
        count = int(labels.max()) + 1
        flat = labels.ravel()
        areas = np.bincount(flat, minlength=count)
        sums = [np.bincount(flat, lab[..., c].ravel(), count) for c in range(3)]
        colors = np.stack(sums, -1) / np.maximum(areas, 1)[:, None]
        pairs = np.concatenate(
            [
                np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], -1),
                np.stack([labels[:-1].ravel(), labels[1:].ravel()], -1),
            ]
        )
        pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
        code, border = np.unique(
            pairs[:, 0].astype(np.int64) * count + pairs[:, 1], return_counts=True
        )
        edges = np.stack([code // count, code % count], -1)
        return cls(labels, colors, edges, border, areas)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Distinct superpixels under points [N, 2] (x, y), clipped to the picture."""
        height, width = self.labels.shape
        index = np.rint(points).astype(int)
        return np.unique(
            self.labels[np.clip(index[:, 1], 0, height - 1), np.clip(index[:, 0], 0, width - 1)]
        )

    def geodesic(self, seeds: np.ndarray) -> np.ndarray:
        """Cheapest path from any of the superpixels ``seeds`` to each: [S] float64, dE units."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra

        count = len(self.areas)
        away = np.linalg.norm(self.colors[:, None] - self.colors[seeds][None], axis=2).min(1)
        a, b = self.edges.T
        step = np.maximum(np.linalg.norm(self.colors[a] - self.colors[b], axis=1) - FREE_STEP, 0)
        rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
        # Entering a superpixel costs its own distance from the seeds' colors.
        cost = np.concatenate([step, step]) + SEED_COLOR_COST * away[columns] + STEP_COST
        graph = csr_matrix((cost, (rows, columns)), shape=(count, count))
        return dijkstra(graph, directed=True, indices=seeds, min_only=True)
