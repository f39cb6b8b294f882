from __future__ import annotations

import torch

from sa3d.surfaces.cluster_growth import grow_clusters

BLACK, BROWN = torch.tensor([0.05, 0.05, 0.05]), torch.tensor([0.6, 0.4, 0.2])


def candlestick() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A black stem (cluster 0) over a black foot on a brown table, and a black stain far off."""
    rgb = BROWN.expand(40, 40, 3).clone()
    stem, foot, stain = torch.zeros(3, 40, 40, dtype=torch.bool)
    stem[8:20, 19:22] = True
    foot[20:23, 15:26] = True
    stain[21:23, 36:38] = True
    rgb[stem | foot | stain] = BLACK
    return rgb, torch.where(stem, 0, -1), foot | stain


def test_a_foot_joins_its_stem_and_a_stain_does_not() -> None:
    rgb, clusters, dark = candlestick()
    doubtful = clusters < 0  # all of the table
    grown = grow_clusters([clusters], [rgb], [doubtful])[0]
    wanted = torch.where(dark, 0, clusters)
    wanted[21:23, 36:38] = -1
    torch.testing.assert_close(grown, wanted)


def test_what_is_not_doubtful_stays() -> None:
    rgb, clusters, _ = candlestick()
    grown = grow_clusters([clusters], [rgb], [torch.zeros_like(clusters, dtype=torch.bool)])[0]
    torch.testing.assert_close(grown, clusters)


def test_a_bump_of_the_tables_color_does_not_grow() -> None:
    clusters = torch.full((40, 40), -1)
    clusters[10:14, 10:14] = 0
    rgb = BROWN.expand(40, 40, 3)
    torch.testing.assert_close(grow_clusters([clusters], [rgb], [clusters < 0])[0], clusters)


def test_the_likelier_of_two_neighbours_takes_a_pixel() -> None:
    rgb = BROWN.expand(20, 30, 3).clone()
    clusters = torch.full((20, 30), -1)
    clusters[5:15, 4:13] = 0
    clusters[5:15, 16:25] = 1
    red = torch.tensor([0.9, 0.1, 0.1])
    rgb[5:15, 4:15] = BLACK  # two more columns than its cluster
    rgb[5:15, 15:25] = red  # and one more
    grown = grow_clusters([clusters], [rgb], [clusters < 0])[0]
    assert (grown[5:15, 4:15] == 0).all()
    assert (grown[5:15, 15:25] == 1).all()


def test_without_clusters_nothing_grows() -> None:
    empty = torch.full((4, 5), -1)
    torch.testing.assert_close(grow_clusters([empty], [torch.rand(4, 5, 3)], [empty < 0])[0], empty)
