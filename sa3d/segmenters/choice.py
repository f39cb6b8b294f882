"""Chooses the best segmenter for a machine, for the name "auto"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from sa3d.hub.files import cached_folder
from sa3d.segmenters.registry import AUTO, EMBEDDED, REGISTRY, SegmenterInfo

PATIENCE_S = 6.0
"""Segmenters that take longer than this to encode a view on a CPU are used only if the user names
them. With fifty views, this limit is five minutes."""


@dataclass(frozen=True)
class Choice:
    """A segmenter and why it was chosen.

    Attributes:
        name: of the segmenter.
        reason: for the choice, a sentence without full stop; empty if the user named the segmenter.
    """

    name: str
    reason: str

    @property
    def sentence(self) -> str:
        """Name and reason in one line for users; empty if the user named the segmenter."""
        return f"segmenter: {self.name} ({self.reason})" if self.reason else ""


def resolve_segmenter(name: str, device: str) -> Choice:
    """Resolve a segmenter's name: "auto" becomes the best one here, other names stay."""
    return choose_segmenter(device) if name == AUTO else Choice(name, "")


def choose_segmenter(device: str) -> Choice:
    """Choose the best segmenter for a device, among those with weights on this machine.

    Gated weights are used only if the user names them, since users agree to terms to get them.
    """
    if find_spec("transformers") is None:
        return Choice(EMBEDDED, "transformers, which SAM needs, is not installed")
    here = sorted(local_segmenters(), key=lambda info: info.rank)
    fast = [info for info in here if device != "cpu" or info.cpu_s <= PATIENCE_S]
    usable = [info for info in fast if not info.gated and can_run(info)]
    if usable:
        where = "on a CPU, where larger ones take long" if device == "cpu" else "on a GPU"
        return Choice(usable[0].name, f"the best one with weights on this machine, {where}")
    if not here:
        return Choice(
            EMBEDDED,
            "there are no weights of another one on this machine (sa3d segmenters lists them)",
        )
    return Choice(EMBEDDED, _why_not(here))


def local_segmenters() -> list[SegmenterInfo]:
    """Return the segmenters of the registry whose weights are complete on this machine."""
    return [info for info in REGISTRY.values() if info.hub_id and cached_folder(info.hub_id)]


def can_run(info: SegmenterInfo) -> bool:
    """Return whether the libraries that a segmenter needs are installed."""
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
    return f"{best.name} is here, but {why}: name it to use it"
