"""Exceptions explained to the user."""

import pytest
import torch

from nerfstudio_plugin.viewer.state import error_notice
from sa3d.base.errors import SA3DError


@pytest.mark.parametrize(
    ("error", "title", "text"),
    [
        (SA3DError("no photo shows this"), "That did not work", "No photo shows this."),
        (SA3DError("mug.ply exists"), "That did not work", "mug.ply exists."),
        (MemoryError(), "Memory is short", "fewer rays (--prepare.ray-side)"),
        (RuntimeError("CUDA out of memory. Tried"), "Memory is short", "smaller segmenter"),
        (torch.OutOfMemoryError("CUDA out of memory"), "Memory is short", "Close other programs"),
        (PermissionError(13, "Permission denied", "/x"), "could not be read or written", "/x"),
        (KeyError("mask"), "A bug in this program", "KeyError: 'mask'. Please report it."),
    ],
)
def test_what_went_wrong_and_what_to_do(error, title, text):
    notice = error_notice(error)
    assert notice.kind == "error"
    assert title in notice.title
    assert text in notice.text
