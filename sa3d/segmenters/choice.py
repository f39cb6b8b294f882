"""The best segmenter there is on this machine: what ``--segmenter auto`` means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from sa3d.hub.files import cached_folder
from sa3d.segmenters.registry import AUTO, EMBEDDED, REGISTRY, SegmenterInfo

PATIENCE_S = 6.0
"""A CPU is not made to encode views for longer than this unless the user says so: with fifty views
that is five minutes."""


@dataclass(frozen=True)
class Choice:
    """A segmenter's name, and why it was chosen, as a sentence without its full stop.

    There is no reason if the user named it.
    """

    name: str
    reason: str

    @property
    def sentence(self) -> str:
        """Name and reason for the user to read; empty if the user named the segmenter."""
        return f"segmenter: {self.name} ({self.reason})" if self.reason else ""


def resolve_segmenter(name: str, device: str) -> Choice:
    """What a name means on this machine: "auto" is the best one there is, any other itself."""
    return choose_segmenter(device) if name == AUTO else Choice(name, "")


def choose_segmenter(device: str) -> Choice:
    """The best segmenter whose weights are on this machine and that suits the device.

    Gated weights are only used when named: who got them agreed to terms of their own.
    """
    if find_spec("transformers") is None:
        return Choice(EMBEDDED, "transformers, which SAM needs, is not installed")
    here = sorted(local_segmenters(), key=lambda info: info.rank)
    fast = [info for info in here if device != "cpu" or info.cpu_s <= PATIENCE_S]
    usable = [info for info in fast if not info.gated and can_run(info)]
    if usable:
        place = "on a CPU, where larger ones take long" if device == "cpu" else "on a GPU"
        return Choice(usable[0].name, f"the best one with weights on this machine, {place}")
    if not here:
        return Choice(
            EMBEDDED,
            "there are no weights of another one on this machine (sa3d segmenters lists them)",
        )
    return Choice(EMBEDDED, _why_not(here))


def local_segmenters() -> list[SegmenterInfo]:
    """Segmenters of the registry whose weights are complete on this machine."""
    return [info for info in REGISTRY.values() if info.hub_id and cached_folder(info.hub_id)]


def can_run(info: SegmenterInfo) -> bool:
    """Whether the libraries that a segmenter needs are there."""
    if info.name != "edgetam":
        return True
    from sa3d.segmenters.sam.loading import timm_problem

    return timm_problem() is None


def _why_not(here: Sequence[SegmenterInfo]) -> str:
    best = here[0]
    if best.gated:
        why = "is only used when named"
    elif not can_run(best):
        why = "needs a newer timm"
    else:
        why = f"takes about {best.cpu_s:.0f} s a view on a CPU"
    return f"{best.name} is here, but {why}: --segmenter {best.name} takes it"
