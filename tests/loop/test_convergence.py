"""Tests of convergence, the choice of the best round, and the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa3d.loop.config import ConvergenceConfig
from sa3d.loop.convergence import (
    TRUST_NOISE,
    best_round,
    best_tenth,
    doubtful_views,
    is_converged,
    outside_note,
    trust,
    verdict,
)
from sa3d.objects.events import RoundDone

ROUND = RoundDone(
    object="mug",
    round=1,
    flips=0,
    labelled=1000,
    accepted=9,
    rejected=1,
    agreement=0.9,
    unvoted_agreement=0.9,
    prompt_agreement=0.9,
    changed_views=0,
    seconds=1.0,
    best_agreement=0.97,
)
CONFIG = ConvergenceConfig()


def test_converged_needs_few_flips_and_settled_views() -> None:
    config = ConvergenceConfig(flip_tolerance=0.01)
    assert is_converged([replace(ROUND, flips=10)], config)
    assert not is_converged([replace(ROUND, flips=11)], config)
    assert not is_converged([replace(ROUND, changed_views=1)], config)
    assert not is_converged([], config)


def test_only_the_last_round_counts() -> None:
    restless, calm = replace(ROUND, flips=500), replace(ROUND, round=2)
    assert is_converged([restless, calm], ConvergenceConfig())
    assert not is_converged([calm, restless], ConvergenceConfig())


def test_drift_is_answered_with_the_round_before_it() -> None:
    drifted = replace(ROUND, round=2, prompt_agreement=0.87)
    assert best_round([ROUND, drifted], CONFIG) == 1


def test_noise_does_not_bring_an_earlier_round_back() -> None:
    slightly_less = replace(ROUND, round=2, prompt_agreement=0.9 - TRUST_NOISE / 2)
    assert best_round([ROUND, slightly_less], CONFIG) == 2


def test_agreement_of_voters_stands_in_where_no_view_was_held_out() -> None:
    first = replace(ROUND, unvoted_agreement=None, agreement=0.95)
    second = replace(ROUND, unvoted_agreement=None, agreement=0.6, round=2)
    assert best_round([first, second], CONFIG) == 1


def test_rounds_without_a_common_object_are_not_believed() -> None:
    nothing = replace(ROUND, best_agreement=0.93)
    assert best_round([nothing], CONFIG) == 0
    assert best_round([nothing], replace(CONFIG, min_best_agreement=0.93)) == 1
    assert best_round([], CONFIG) == 0


def test_rounds_that_lost_the_users_object_are_not_believed() -> None:
    lost = replace(ROUND, prompt_agreement=0.49)
    assert trust(lost) == pytest.approx((0.9 + 0.49) / 2)
    assert best_round([lost], CONFIG) == 0
    assert best_round([lost], replace(CONFIG, min_prompt_agreement=0.4)) == 1


def test_views_that_err_do_not_spoil_what_the_others_found() -> None:
    erring = replace(ROUND, agreement=0.6, unvoted_agreement=0.5, prompt_agreement=0.8)
    assert best_round([erring], CONFIG) == 1


def test_the_best_tenth_does_not_see_what_the_others_say() -> None:
    assert best_tenth([i / 20 for i in range(21)]) == pytest.approx(0.9)
    assert best_tenth([0.1] * 8 + [0.96] * 3) == pytest.approx(0.96)
    assert best_tenth([0.7]) == 0.7
    assert best_tenth([]) == 0


agreements = st.floats(0, 1)


@given(st.lists(st.tuples(agreements, agreements), min_size=1, max_size=6))
def test_never_answers_with_clearly_less_agreement_than_any_round(
    values: list[tuple[float, float]],
) -> None:
    rounds = [
        replace(ROUND, round=i + 1, unvoted_agreement=u, prompt_agreement=p)
        for i, (u, p) in enumerate(values)
    ]
    chosen = best_round(rounds, replace(CONFIG, min_prompt_agreement=0.0))
    assert sum(values[chosen - 1]) >= max(u + p for u, p in values) - 2 * TRUST_NOISE - 1e-9


def test_verdict_names_what_a_user_should_know() -> None:
    text = verdict([ROUND, replace(ROUND, round=2)], 1, converged=False)
    assert "not converged" in text
    assert "2 rounds" in text
    assert "round 1 kept" in text
    assert "1 view rejected" in text
    assert verdict([], 0, converged=False) == "lifted from the prompted views alone"
    lost = verdict([replace(ROUND, prompt_agreement=0.48)], 0, converged=True)
    assert "the best tenth of them agrees 0.97 with the others" in lost
    assert "0.48 with the prompt" in lost
    assert "prompt another view" in lost
    judged = replace(ROUND, best_agreement=0.93, prompt_agreement=0.9)
    later = replace(ROUND, round=2, best_agreement=0.96, prompt_agreement=0.4)
    assert best_round([judged, later], CONFIG) == 0
    assert "agrees 0.93 with the others" in verdict([judged, later], 0, converged=True)
    unseen = replace(ROUND, accepted=0, rejected=0, unvoted_agreement=None)
    assert "no other view shows what was marked" in verdict([unseen], 0, converged=True)


def test_at_most_three_views_are_named_worst_first() -> None:
    assert doubtful_views({"a": 0.75, "b": 0.9}, CONFIG) == ""
    assert doubtful_views({"a": 0.7, "b": 0.9}, CONFIG) == "view a disagrees: look at it"
    assert doubtful_views({"a": 0.7, "b": 0.2}, CONFIG) == "views b and a disagree: look at them"
    many = {name: i / 10 for i, name in enumerate("abcde")}
    assert doubtful_views(many, CONFIG) == "5 views disagree, most of all a, b and c: look at them"


def test_what_lies_beyond_the_pictures_is_told_where_it_is_much() -> None:
    assert outside_note(0.15, CONFIG) == ""
    remark = "22% of it lies outside the photos it was marked in: mark it in one more"
    assert outside_note(0.219, CONFIG) == remark
