"""Marks become prompts, and prompts words."""

import numpy as np
import pytest
import torch

from nerfstudio_plugin.viewer.marks import Mark, prompt_description, prompts_of
from sa3d.objects.prompts import Prompt
from sa3d.voting.photo_prompts import PhotoBox, PhotoPoint

POINT = torch.tensor([1.0, 2.0, 3.0])


def click(view, x, y, label=1):
    return Mark.click(PhotoPoint(view, (x, y), POINT), label)


def box(view, *corners):
    return Mark.box(PhotoBox(view, corners, POINT))


def test_a_mark_has_its_photo_and_surface_point(still_life):
    assert click(2, 5.0, 6.0, 0) == Mark(2, 0, (5.0, 6.0), None, (1.0, 2.0, 3.0))
    assert box(2, 1.0, 2.0, 3.0, 4.0) == Mark(2, 1, None, (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0))


def test_marks_of_a_photo_are_one_prompt_and_the_photo_marked_last_comes_last(still_life):
    views = still_life.scene.views
    marks = [click(3, 1, 2), click(0, 3, 4), click(5, 5, 6), click(3, 7, 8, label=0)]
    prompts = prompts_of(marks, views, "mug", candidate=2)
    assert prompts == [
        Prompt("frame_00000.png", "mug", ((3, 4),), (1,)),
        Prompt("frame_00005.png", "mug", ((5, 6),), (1,)),
        Prompt("frame_00003.png", "mug", ((1, 2), (7, 8)), (1, 0), candidate=2),
    ]
    assert [prompt.candidate for prompt in prompts] == [None, None, 2]


def test_the_last_box_of_a_photo_counts(still_life):
    marks = [box(1, 0, 0, 4, 4), click(1, 6, 6), box(1, 5, 5, 9, 9)]
    (prompt,) = prompts_of(marks, still_life.scene.views, "mug")
    assert prompt == Prompt("frame_00001.png", "mug", ((6, 6),), (1,), (5, 5, 9, 9))
    assert prompts_of([], still_life.scene.views, "mug") == []


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt("a.png", points=((1, 1),), labels=(1,)), "a.png: 1 click"),
        (
            Prompt("a.png", points=((1, 1), (2, 2), (3, 3)), labels=(1, 0, 1)),
            "a.png: 2 clicks, 1 beside it",
        ),
        (Prompt("a.png", box=(1, 1, 4, 4), points=((2, 2),), labels=(0,)), "a.png: box, 1 beside"),
        (Prompt("a.png", mask=np.ones((2, 2), bool)), "a.png: mask"),
        (Prompt("a.png", text="the red mug"), "a.png: “the red mug”"),
    ],
)
def test_prompts_in_words(prompt, words):
    assert prompt_description(prompt).startswith(words)
