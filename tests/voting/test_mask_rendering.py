from __future__ import annotations

import pytest
import torch

from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.scene.view_operator import ViewOperator
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.voting.mask_rendering import (
    MIN_ACCUMULATION,
    RenderedMask,
    agreement,
    render_mask,
    render_share,
)

OPERATOR = ViewOperator(
    crow=torch.tensor([0, 2, 3, 4, 4]),
    col=torch.tensor([0, 1, 2, 0]),
    weight=torch.tensor([0.3, 0.1, 0.5, MIN_ACCUMULATION / 2]),
    keys=torch.tensor([0, 1, 2]),
).bind(torch.tensor([0, 1, 2]))


def test_mean_along_the_ray_by_hand() -> None:
    share = render_share(OPERATOR, torch.tensor([1.0, 0.0, 0.6]))
    # Pruned light does not darken (0.3 / 0.4); rays that see nothing are 0.
    assert share.tolist() == pytest.approx([0.75, 0.6, 0.0, 0.0])


def test_columns_equal_single_runs() -> None:
    values = torch.rand(3, 2)
    both = render_share(OPERATOR, values)
    for k in range(2):
        torch.testing.assert_close(both[:, k], render_share(OPERATOR, values[:, k]))


def test_probability_and_known_by_hand() -> None:
    evidence = Evidence(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 3.0]))
    rendered = render_mask(OPERATOR, evidence, prior=0.4, prior_weight=1.0)
    share, known = [1.4 / 2, 0.4, 0.4 / 4], [0.5, 0.0, 0.75]
    assert rendered.probability[:2].tolist() == pytest.approx(
        [(0.3 * share[0] + 0.1 * share[1]) / 0.4, share[2]]
    )
    assert rendered.known[:2].tolist() == pytest.approx([0.3 * known[0] / 0.4, known[2]])
    assert rendered.probability[2:].tolist() == rendered.known[2:].tolist() == [0.0, 0.0]


def test_exact_votes_render_as_the_exact_mask(
    still_life: AnalyticScene, voted: Segmentation
) -> None:
    for index in range(len(still_life.scene.views)):
        rendered = render_mask(
            still_life.scene.prepared(index).operator,
            voted.object("ball").evidence,
            prior=voted.prior,
            prior_weight=voted.prior_weight,
        )
        mask = rendered.probability.reshape(36, 48).numpy() > 0.5
        truth = still_life.masks["ball"][index]
        assert (mask & truth).sum() / (mask | truth).sum() > 0.9
        known = rendered.known[torch.from_numpy(truth).reshape(-1)]
        assert (known > 0.5).float().mean() > 0.95
        assert rendered.probability.max() <= 1 + 1e-5


def test_agreement_counts_only_what_the_others_know() -> None:
    """Computed by hand: 2 of 3 known pixels are shared; the fourth has no evidence."""
    rendered = RenderedMask(
        probability=torch.tensor([1.0, 1.0, 1.0, 0.5, 0.0]),
        known=torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0]),
    )
    assert agreement(torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0]), rendered) == pytest.approx(2 / 3)


def test_agreement_of_masks_that_share_nothing_is_zero() -> None:
    rendered = RenderedMask(torch.tensor([1.0, 0.0]), torch.ones(2))
    assert agreement(torch.tensor([0.0, 1.0]), rendered) == 0
    assert agreement(torch.zeros(2), RenderedMask(torch.zeros(2), torch.zeros(2))) == 0


def test_masks_that_both_show_nothing_agree() -> None:
    assert agreement(torch.zeros(2), RenderedMask(torch.tensor([0.2, 0.0]), torch.ones(2))) == 1
