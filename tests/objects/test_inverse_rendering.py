from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sa3d.evaluation.baselines import sa3d_gradient_step
from sa3d.objects.inverse_rendering import Evidence, Vote, splat_votes
from sa3d.scene.view_operator import ViewOperator
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.autograd_reference import autograd_step


def random_operator(seed: int, rays: int, elements: int) -> ViewOperator:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(rays, elements, generator=generator)
    weights = torch.where(weights > 0.5, weights / elements, 0.0)
    row, col = torch.nonzero(weights, as_tuple=True)
    counts = torch.bincount(row, minlength=rays)
    return ViewOperator(
        crow=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        col=col,
        weight=weights[row, col],
        keys=torch.arange(elements),
    ).bind(torch.arange(elements))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), lam=st.floats(0, 5))
def test_closed_form_is_the_gradient_step(seed: int, lam: float) -> None:
    operator = random_operator(seed, rays=23, elements=17)
    mask = torch.rand(23, generator=torch.Generator().manual_seed(seed)).round()
    step = sa3d_gradient_step(operator, mask, lam)
    torch.testing.assert_close(step, autograd_step(operator, mask, lam), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lam", [0.3, 1.0, 2.0])
def test_closed_form_on_an_analytic_view(still_life: AnalyticScene, lam: float) -> None:
    operator = still_life.scene.prepared(3).operator
    mask = torch.from_numpy(still_life.masks["ball"][3]).float().reshape(-1)
    step = sa3d_gradient_step(operator, mask, lam)
    torch.testing.assert_close(step, autograd_step(operator, mask, lam), rtol=1e-5, atol=1e-5)
    assert (step > 0).any()
    assert (step < 0).any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), lam=st.floats(0.1, 5))
def test_evidence_over_views_is_the_sum_of_steps(seed: int, lam: float) -> None:
    evidence, steps = Evidence.zeros(9), torch.zeros(9)
    for view in range(3):
        operator = random_operator(seed + view, rays=11, elements=9)
        mask = torch.rand(11, generator=torch.Generator().manual_seed(seed + view))
        evidence.add(operator, Vote(mask, torch.ones(11)))
        steps += sa3d_gradient_step(operator, mask, lam)
    combined = (1 + lam) * evidence.object - lam * evidence.total
    torch.testing.assert_close(combined, steps, rtol=1e-4, atol=1e-5)
    clear = steps.abs() > 1e-4
    share = evidence.object / evidence.total.clamp_min(1e-9)
    above = share > lam / (1 + lam)
    assert torch.equal(evidence.labels(lam)[clear], steps[clear] > 0)
    assert torch.equal(evidence.labels(lam)[clear], above[clear])


def test_threshold_by_hand() -> None:
    evidence = Evidence(torch.tensor([2.0, 3.0, 1.0, 0.0]), torch.tensor([3.0, 4.0, 4.0, 0.0]))
    assert evidence.labels(1.0).tolist() == [True, True, False, False]
    # lambda 2: more than two thirds are needed.
    assert evidence.labels(2.0).tolist() == [False, True, False, False]
    assert evidence.labels(0.25).tolist() == [True, True, True, False]


def test_vote_by_hand() -> None:
    operator = ViewOperator(
        crow=torch.tensor([0, 2, 3]),
        col=torch.tensor([0, 1, 1]),
        weight=torch.tensor([0.5, 0.25, 1.0]),
        keys=torch.tensor([7, 9]),
    ).bind(torch.tensor([3, 7, 9]))
    evidence = Evidence.zeros(3)
    evidence.add(operator, Vote(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.2])))
    assert evidence.object.tolist() == pytest.approx([0, 0.5, 0.25 + 0.1])
    assert evidence.total.tolist() == pytest.approx([0, 0.5, 0.25 + 0.2])


def test_votes_together_say_what_each_says_alone() -> None:
    operator = random_operator(3, rays=11, elements=9)
    uneven, even = Vote(torch.rand(11), torch.rand(11)), Vote(torch.rand(11), torch.tensor(0.3))
    written_out = Vote(even.mask, torch.full((11,), 0.3))
    together = splat_votes(operator, [uneven, even, uneven])
    for found, vote in zip(together, (uneven, written_out, uneven), strict=True):
        torch.testing.assert_close(found.object, operator.splat(vote.mask * vote.confidence))
        torch.testing.assert_close(found.total, operator.splat(vote.confidence))
    assert splat_votes(operator, []) == []


def test_taking_a_vote_back() -> None:
    first, second = (random_operator(seed, rays=11, elements=9) for seed in (1, 2))
    kept = Vote(torch.rand(11), torch.rand(11))
    gone = Vote(torch.rand(11), torch.rand(11))
    expected, evidence = Evidence.zeros(9), Evidence.zeros(9)
    expected.add(first, kept)
    evidence.add(second, gone)
    evidence.add(first, kept)
    evidence.add(second, gone, sign=-1)
    torch.testing.assert_close(evidence.object, expected.object, atol=1e-6, rtol=0)
    torch.testing.assert_close(evidence.total, expected.total, atol=1e-6, rtol=0)
    assert (evidence.object >= 0).all()
    assert (evidence.total >= 0).all()


def test_share_counts_the_unknown_with_the_prior() -> None:
    evidence = Evidence(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 1.0]))
    assert evidence.share(0.3, 0.25).tolist() == pytest.approx([0.3, 1.075 / 1.25, 0.075 / 1.25])


def test_no_evidence_labels_nothing() -> None:
    assert not Evidence.zeros(4).labels().any()


def test_a_snapshot_stays_what_it_is_and_is_copied_only_when_something_changes() -> None:
    where, one = torch.tensor([True, False, False]), torch.ones(1)
    changes = [
        lambda evidence: evidence.set_at(torch.tensor([1]), Evidence(one, 2 * one)),
        lambda evidence: evidence.add_to_total(where, 0.5),
    ]
    for change in changes:
        for changed_first in (True, False):
            evidence = Evidence(torch.zeros(3), torch.ones(3))
            snapshot = evidence.snapshot()
            assert snapshot.total is evidence.total
            one_of, other = (evidence, snapshot) if changed_first else (snapshot, evidence)
            change(one_of)
            assert not one_of.total.equal(torch.ones(3))
            assert other.object.equal(torch.zeros(3))
            assert other.total.equal(torch.ones(3))
            place = one_of.total.data_ptr()
            change(one_of)
            assert one_of.total.data_ptr() == place  # its own by now
