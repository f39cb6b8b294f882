"""Views judged by views that had no say: k-fold cross-validation of a finished loop."""

from __future__ import annotations

from dataclasses import replace

from sa3d.loop.object_state import ObjectState
from sa3d.objects.segmentation import ViewRecord
from sa3d.voting.mask_rendering import agreement


def with_fold_agreements(state: ObjectState, folds: int) -> dict[int, ViewRecord]:
    """A loop's records, each mask compared with what is rendered without the views of its fold.

    What was measured before, with other votes, is forgotten. Every ``folds``-th view that has a
    mask belongs to the same fold. Only operators are needed: each fold's votes are taken out of a
    copy of the evidence, and nothing is segmented again.

    Args:
        folds: 0 compares none; with as many as there are views each is left out alone.
    """
    records = {i: replace(record, fold_agreement=None) for i, record in state.records.items()}
    masked = [index for index in sorted(records) if records[index].mask is not None]
    for fold in (masked[start::folds] for start in range(folds)):
        if not set(state.votes) - set(fold):
            continue  # nobody is left to compare with
        without = _without(state, fold)
        for index in fold:
            mask = records[index].mask
            assert mask is not None
            rendered = without.render(index)
            vote = state.votes.get(index)
            if vote is not None:  # where the user has no say, their mask is not compared
                said = (vote.confidence > 0).to(rendered.known)
                rendered = replace(rendered, known=rendered.known * said)
            shared = agreement(state.mask_to_rays(index, mask), rendered)
            records[index] = replace(records[index], fold_agreement=shared)
    return records


def _without(state: ObjectState, views: list[int]) -> ObjectState:
    """The state as if some views had not voted; the given one stays as it is."""
    evidence = state.evidence.snapshot()
    for index in views:
        if (vote := state.votes.get(index)) is not None:
            evidence.add(state.scene.prepared(index).operator, vote, sign=-1)
    return replace(state, evidence=evidence)
