"""Reads ``jobs.json``, and checks all of it before a job runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from nerfstudio_plugin.exports import ExportOptions, export_class
from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json
from sa3d.detectors.loading import check_detector
from sa3d.export.manifest import MANIFEST_SUFFIX
from sa3d.loop.settings import Settings, load_settings, with_values
from sa3d.objects.names import check_names_apart
from sa3d.objects.prompts import Prompt, check_marks_object, check_together, prompt_from_json
from sa3d.search.text_prompts import needs_words
from sa3d.segmenters.loading import check_segmenter
from sa3d.segmenters.registry import AUTO

SCHEMA = Path(__file__).with_name("batch.schema.json")
"""The format, as JSON Schema; editors use it to check and complete."""
RESULTS = "results.jsonl"
"""File of all results, in the output folder beside the jobs' folders."""
SEGMENTATION = "segmentation"
"""Folder of the segmentation, in a job's folder beside its exports."""


@dataclass(frozen=True)
class SceneEntry:
    """A trained run; the fields are keywords of ``sa3d.open``."""

    load_config: Path
    data: Path | None = None
    cache_dir: Path | None = None


@dataclass(frozen=True)
class ExportEntry:
    """An export of a job; ``output`` lies below the job's own folder."""

    kind: str | None
    output: Path
    objects: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def below(self, folder: Path, origin: str) -> ExportOptions:
        """Return the export with its output in a job's folder; it replaces existing files.

        Args:
            folder: the job's own.
            origin: place of the entry, for messages.

        Raises:
            SA3DError: there is no such kind or option, or a value is of the wrong kind.
        """
        place = folder / self.output
        with _errors_name(origin):
            plain = export_class(self.kind, self.output)(output=place, overwrite=True)
        fixed = sorted({"output", "overwrite"} & set(self.options))
        if fixed:
            raise SA3DError(f"{origin}: a batch sets the option {fixed[0]!r} itself: leave it out")
        export = with_values(plain, self.options, origin)
        with _errors_name(origin):
            type(export).check(replace(export, output=place))
        return export


@dataclass(frozen=True)
class Job:
    """One segmentation and its exports.

    Attributes:
        name: name of the job and of its folder.
        scene: name of the scene that it is in.
        prompts: mark the objects; without prompts, everything is segmented.
        exports: made of the segmentation.
        settings: how the scene is prepared and segmented.
        detector: name of the text detector.
        key: hash of the job's and its scene's entries in the file; differs when they change.
    """

    name: str
    scene: str
    prompts: tuple[Prompt, ...]
    exports: tuple[ExportEntry, ...]
    settings: Settings
    detector: str
    key: str


@dataclass(frozen=True)
class Batch:
    """All jobs of a file, and their scenes by name."""

    scenes: Mapping[str, SceneEntry]
    jobs: tuple[Job, ...]

    def absent_files(self) -> list[Path]:
        """Return the files and folders that the jobs name and that do not exist (yet)."""
        named = [path for scene in self.scenes.values() for path in (scene.load_config, scene.data)]
        named += [prompt.mask for job in self.jobs for prompt in job.prompts]
        paths = dict.fromkeys(path for path in named if isinstance(path, Path))
        return [path for path in paths if not path.exists()]


def read_batch(path: Path) -> Batch:
    """Read ``jobs.json``.

    Raises:
        SA3DError: the file cannot be read, or an entry is invalid; the message names the place and
            what is expected there.
    """
    content = read_json(path)
    _check(content, path)
    folder = path.resolve().parent
    scenes = {
        name: SceneEntry(**{key: folder / value for key, value in entry.items()})
        for name, entry in content["scenes"].items()
    }
    jobs: dict[str, Job] = {}
    for position, entry in enumerate(content["jobs"]):
        origin = f"{path.name}, jobs[{position}]"
        same = next((name for name in jobs if name.lower() == entry["name"].lower()), None)
        if same is not None:  # on many disks, folders that differ in case alone are the same
            raise SA3DError(f"{origin}: there is a job {same!r} already: rename one")
        if entry["name"] == RESULTS:
            raise SA3DError(f"{origin}: {RESULTS} is the file of all results: rename the job")
        if entry["scene"] not in scenes:
            raise SA3DError(
                f"{origin}: no scene {entry['scene']!r}; there are: {', '.join(scenes)}"
            )
        full = {**content.get("defaults", {}), **entry}
        digest = hashlib.sha256(json.dumps([full, content["scenes"][entry["scene"]]]).encode())
        jobs[entry["name"]] = _job(full, folder, origin, digest.hexdigest()[:16])
    return Batch(scenes, tuple(jobs.values()))


@contextmanager
def _errors_name(origin: str) -> Iterator[None]:
    """Put the place in the file in front of messages of errors raised in the block."""
    try:
        yield
    except SA3DError as error:
        raise SA3DError(f"{origin}: {error}") from error


def _job(entry: Mapping[str, Any], folder: Path, origin: str, key: str) -> Job:
    preset = entry.get("config", "default")
    with _errors_name(origin):
        prompts = [prompt_from_json(prompt, folder) for prompt in entry.get("prompts", ())]
        _check_prompts(prompts)
        settings = load_settings(str(folder / preset) if preset.endswith(".toml") else preset)
    settings = with_values(settings, entry.get("settings", {}), origin)
    exports = [
        ExportEntry(
            one.get("kind"),
            Path(one["output"]),
            tuple(one.get("objects", ())),
            one.get("options", {}),
        )
        for one in entry.get("exports", ())
    ]
    for position, export in enumerate(exports):
        where = f"{origin}.exports[{position}]"
        export.below(folder / ".nowhere", where)
        _check_place(export, exports[:position], where)
        _check_objects(export, prompts, where)
    settings = replace(settings, segmenter=entry.get("segmenter", settings.segmenter))
    detector = entry.get("detector", AUTO)
    with _errors_name(origin):
        check_segmenter(settings.segmenter)
        check_detector(detector)
    return Job(
        name=entry["name"],
        scene=entry["scene"],
        prompts=tuple(prompts),
        exports=tuple(exports),
        settings=settings,
        detector=detector,
        key=key,
    )


def _check_prompts(prompts: Sequence[Prompt]) -> None:
    """Check the prompts for each object in each view, as far as is possible without the view."""
    check_names_apart(dict.fromkeys(prompt.object for prompt in prompts))
    by_words = {prompt.object for prompt in prompts if needs_words(prompt)}
    together: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in prompts:
        together.setdefault((prompt.object, PurePath(prompt.view).stem), []).append(prompt)
    for (name, _), here in together.items():
        check_together(here)
        if name not in by_words:
            check_marks_object(here)


def _check_place(export: ExportEntry, others: Sequence[ExportEntry], where: str) -> None:
    """Check that no other file of the job has the path of an export's output."""
    parts = export.output.parts
    if not parts or parts[0] == SEGMENTATION:
        raise SA3DError(
            f"{where}: {str(export.output)!r} is the segmentation's folder: give another output"
        )
    if any(part.endswith(MANIFEST_SUFFIX) for part in parts):
        raise SA3DError(
            f"{where}: {str(export.output)!r} is a manifest's name, which an export writes beside "
            "itself: give another output"
        )
    if export.output in [other.output for other in others]:
        raise SA3DError(
            f"{where}: {str(export.output)!r} is the output of an earlier export: give another"
        )


def _check_objects(export: ExportEntry, prompts: Sequence[Prompt], where: str) -> None:
    """Check that the prompts mark the export's objects; without prompts they are not known yet."""
    marked = dict.fromkeys(prompt.object for prompt in prompts)
    for name in export.objects if prompts else ():
        if name not in marked:
            raise SA3DError(f"{where}: no object {name!r} in this job: {', '.join(marked)}")


def _check(content: Any, path: Path) -> None:
    """Check against the schema; errors name the place, the problem, and what is expected there."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = read_json(SCHEMA)
    error = best_match(Draft202012Validator(schema).iter_errors(content))
    if error is None:
        return
    if error.parent is not None and error.parent.validator == "oneOf":
        error = error.parent
    where = error.json_path.removeprefix("$").removeprefix(".") or "the whole file"
    if error.validator == "oneOf":
        raise SA3DError(f'{path.name}, {where}: give either "prompts" or "everything": true')
    problem = error.message if len(error.message) < 200 else f"{error.message[:200]}..."
    expected = error.schema.get("description") if isinstance(error.schema, Mapping) else None
    raise SA3DError(
        f"{path.name}, {where}: {problem}" + (f"; expected: {expected}" if expected else "")
    )
