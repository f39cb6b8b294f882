"""Tests of previews of prompts, which change nothing."""

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.loop.session import Session
from sa3d.objects.prompts import Prompt
from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter

CLICK = Prompt("frame_00000", "ball", ((26.0, 17.0),), (1,))


@pytest.fixture
def session(still_life):
    return Session(still_life.scene, GraphCutSegmenter())


def test_the_preview_is_the_mask_that_is_lifted(session):
    seen = session.preview([CLICK])
    assert session.result().objects == {}
    session.add_prompts([CLICK])
    next(session.run())
    assert np.array_equal(session.result().objects["ball"].views[seen.view].mask, seen.mask)


def test_the_candidate_chosen_is_lifted(session):
    candidates = session.preview([CLICK]).candidates
    assert candidates is not None
    areas = candidates.masks.sum((1, 2))
    assert len(set(areas.tolist())) > 1
    for number in range(3):
        chosen = Prompt(CLICK.view, f"ball{number}", CLICK.points, CLICK.labels, candidate=number)
        assert np.array_equal(session.preview([chosen]).mask, candidates.masks[number])
        session.add_prompts([chosen])
    for _ in session.run():
        pass
    for number in range(3):
        lifted = session.result().objects[f"ball{number}"].views[0].mask
        assert np.array_equal(lifted, candidates.masks[number])


def test_a_correction_is_previewed_against_what_is_seen(session):
    session.add_prompts([CLICK])
    for _ in session.run():
        pass
    before = session.result()
    beside = Prompt("frame_00003", "ball", ((5.0, 5.0),), (0,))
    seen = session.preview([beside])
    assert seen.candidates is None
    assert not seen.uncertain
    assert not seen.mask[5, 5]
    assert session.result().objects["ball"].prompts == before.objects["ball"].prompts
    session.add_prompts([beside])
    for _ in session.run():
        pass
    assert np.array_equal(session.result().objects["ball"].views[seen.view].mask, seen.mask)


def test_background_points_alone_mark_nothing(session):
    with pytest.raises(SA3DError, match="background points"):
        session.preview([Prompt(CLICK.view, "ball", ((2.0, 2.0),), (0,))])
