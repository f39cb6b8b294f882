"""``sa3d segmenters``: lists the segmenters, those on this machine, and the one "auto" takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console

from nerfstudio_plugin.cli.options import ReportOptions, run
from nerfstudio_plugin.cli.terminal import OUT
from nerfstudio_plugin.runs.devices import torch_device
from sa3d.detectors.loading import local_detectors
from sa3d.detectors.registry import REGISTRY as DETECTORS
from sa3d.segmenters.choice import can_run, choose_segmenter, local_segmenters
from sa3d.segmenters.registry import EMBEDDED, REGISTRY, SegmenterInfo

_HELP = """List the segmenters: what each needs, and which are on this machine.

Give a name to --segmenter of the other commands; "auto", the default, takes the best one that is
on this machine and suits it. To get one, run "hf download HUB_ID"; with a network, --segmenter NAME
downloads it as well. The name may also be a folder or .safetensors file with weights.

examples:
  sa3d segmenters
  sa3d segmenters --json segmenters.json
"""

_WIDTH = 120

_RECOMMENDED = {"cpu": "sam2.1-tiny", "cuda": "sam2.1-large"}


@dataclass(kw_only=True)
class Segmenters(ReportOptions):
    """List the segmenters."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that a segmenter is recommended for; auto takes a GPU if there is one."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d segmenters``.

    Raises:
        SA3DError: the report cannot be written.
    """
    run(_run, Segmenters, arguments, "sa3d segmenters", _HELP)


def _run(command: Segmenters) -> None:

    device = torch_device("auto") if command.device == "auto" else command.device
    here = {EMBEDDED, *(info.name for info in local_segmenters())}
    choice = choose_segmenter(device)
    # Users copy the names: a long line is better than a cut name.
    wide = Console(width=_WIDTH, highlight=False, soft_wrap=True)
    wide.print(_table(here))
    OUT.print(f"--segmenter auto takes {choice.name}: {choice.reason}.")
    wanted = REGISTRY[_RECOMMENDED[device]]
    if wanted.name not in here:
        OUT.print(f"Recommended here ({device}): {wanted.name}. hf download {wanted.hub_id}")
    OUT.print("Detectors for --text (--detector NAME), which a segmenter then follows:")
    seen = {info.name for info in local_detectors()}
    wide.print(_table(seen, DETECTORS))
    command.write_report(_report(here) | {"auto": asdict(choice), "recommended": wanted.name})


def _table(here: set[str], registry: Mapping[str, SegmenterInfo] = REGISTRY) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("name")
    table.add_column("here")
    for column in ("M par.", "MB", "CPU s/view"):
        table.add_column(column, justify="right")
    table.add_column("licence")
    table.add_column("weights on the hub")
    for info in registry.values():
        table.add_row(
            info.name,
            "yes" if info.name in here else "-",
            f"{info.parameters_m:g}" if info.hub_id else "",
            str(info.download_mb) if info.hub_id else "",
            f"{info.cpu_s:g}",
            info.licence + (", gated" if info.gated else ""),
            info.hub_id or "none needed: embedded",
        )
    return table


def _report(here: set[str]) -> dict[str, Any]:
    return {"segmenters": [_described(info, info.name in here) for info in REGISTRY.values()]}


def _described(info: SegmenterInfo, here: bool) -> dict[str, Any]:
    return asdict(info) | {"here": here, "can_run": can_run(info)}
