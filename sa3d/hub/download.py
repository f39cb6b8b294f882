"""Downloads of models from the Hugging Face hub, with remedies in the errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sa3d.base.errors import SA3DError
from sa3d.hub.files import CONFIG

PROBE_S = 5.0
"""Seconds to wait for the hub before a download fails."""

_FILES = ["*.json", "*.txt", "*.safetensors"]


def download(hub_id: str, option: str, folder: str, otherwise: str) -> Path:
    """Download a model's files into the hub's cache.

    Args:
        hub_id: the model, "owner/name".
        option: name of the keyword that takes the model, for messages.
        folder: name of the folder that messages suggest for a download by hand.
        otherwise: the end of messages: what to do without these weights.

    Returns:
        The folder with the files.

    Raises:
        SA3DError: there is no network, no such model, or no permission.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        # A download retries for half a minute if the hub cannot be reached; this check does not.
        get_hf_file_metadata(hf_hub_url(hub_id, CONFIG), timeout=PROBE_S)
        return Path(snapshot_download(hub_id, allow_patterns=_FILES))
    except GatedRepoError as error:
        raise SA3DError(
            f"{hub_id} is available on request only: ask for access on its page of the hub, then:"
            f" hf auth login; {otherwise}"
        ) from error
    except RepositoryNotFoundError as error:
        raise SA3DError(
            f"the hub has no {hub_id} (or it is private: hf auth login): sa3d segmenters lists the"
            f" known ones, {otherwise}"
        ) from error
    # The hub client raises the errors of its HTTP library, which differs between versions.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SA3DError(
            f"the weights {hub_id} are not on this machine and the hub cannot be reached"
            f" ({reason}): where there is a network: hf download {hub_id} --local-dir {folder}, and"
            f" set {option!r} to that folder; {otherwise}"
        ) from error


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' progress bars and its notes about unused weights."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
