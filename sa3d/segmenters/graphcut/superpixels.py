"""Superpixels of an image, and geodesic distances over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COMPACTNESS = 6.0
"""Weight of distance beside color in SLIC, tuned on 27 photos."""

LAB_WEIGHTS = (0.7, 1.2, 1.2)
"""Weights of L, a and b, tuned on 27 photos; lightness counts less, as shadows change it."""

FREE_STEP = 1.0
"""Color difference (Lab) between neighbours that adds no distance."""

SEED_COLOR_COST = 0.12
"""Distance added per color difference (Lab) from the seeds, tuned on 27 photos."""

STEP_COST = 0.25
"""Distance added by each step to a neighbour, tuned on 27 photos."""


@dataclass(frozen=True)
class Superpixels:
    """The S superpixels of an image.

    Attributes:
        labels: [h, w] int32, 0 .. S-1.
        colors: [S, 3] mean weighted Lab.
        edges: [E, 2] pairs of neighbours, each once.
        border: [E] length of their common border, pixels.
        areas: [S] number of pixels.
    """

    labels: np.ndarray
    colors: np.ndarray
    edges: np.ndarray
    border: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray, count: int) -> Superpixels:
        """Divide an image [h, w, 3] uint8 into about ``count`` superpixels."""
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
        """Describe the superpixels ``labels`` [h, w] of an image ``lab`` [h, w, 3]."""
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
        """Return the distinct superpixels at points [N, 2] (x, y), clipped to the image."""
        height, width = self.labels.shape
        index = np.rint(points).astype(int)
        return np.unique(
            self.labels[np.clip(index[:, 1], 0, height - 1), np.clip(index[:, 0], 0, width - 1)]
        )

    def geodesic(self, seeds: np.ndarray) -> np.ndarray:
        """Return the geodesic distance of each superpixel from the seeds: [S] float64, Lab."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra

        count = len(self.areas)
        away = np.linalg.norm(self.colors[:, None] - self.colors[seeds][None], axis=2).min(1)
        a, b = self.edges.T
        step = np.maximum(np.linalg.norm(self.colors[a] - self.colors[b], axis=1) - FREE_STEP, 0)
        rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
        # A step to a superpixel adds that superpixel's color difference from the seeds.
        cost = np.concatenate([step, step]) + SEED_COLOR_COST * away[columns] + STEP_COST
        graph = csr_matrix((cost, (rows, columns)), shape=(count, count))
        return dijkstra(graph, directed=True, indices=seeds, min_only=True)
