"""Files of models on this machine: finds them in the hub's cache and checks them."""

from __future__ import annotations

from pathlib import Path

from sa3d.base.errors import SA3DError
from sa3d.base.json_files import read_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def missing_files(folder: Path) -> list[str]:
    """Return the names of the files that a model's folder lacks; empty if it is complete."""
    missing = [] if (folder / CONFIG).is_file() else [CONFIG]
    if not any((folder / name).is_file() for name in PROCESSORS):
        missing.append(PROCESSORS[0])
    return missing + _missing_weights(folder)


def _missing_weights(folder: Path) -> list[str]:
    if (folder / WEIGHTS).is_file():
        return []
    try:
        index = read_json(folder / WEIGHTS_INDEX)
        shards = sorted(set(index["weight_map"].values()))
    except (SA3DError, LookupError, TypeError, AttributeError):
        return [WEIGHTS]
    return [name for name in shards if not (folder / name).is_file()]


def cached_folder(hub_id: str) -> Path | None:
    """Return the folder of the hub's cache with all of a model's files, or None."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(hub_id, CONFIG)
    except HFValidationError:
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    return None if missing_files(folder) else folder


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form ``owner/name``."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")
