"""Encodings kept in memory: up to a number of bytes, of one segmenter."""

from __future__ import annotations

import numpy as np

from sa3d.scene.encoding_memory import EncodingMemory


def state(size: int) -> dict[str, np.ndarray]:
    return {"a": np.zeros(size // 2, np.uint8), "b": np.zeros(size - size // 2, np.uint8)}


def test_the_first_ones_stay_when_it_is_full() -> None:
    memory, first = EncodingMemory(max_bytes=25), state(10)
    memory.put(3, "one", first)
    memory.put(1, "one", state(11))
    memory.put(2, "one", state(10))
    memory.put(4, "one", state(4))
    assert memory.get(3, "one") is first
    assert [index for index in range(5) if memory.get(index, "one") is not None] == [1, 3, 4]


def test_another_segmenter_begins_anew() -> None:
    memory = EncodingMemory(max_bytes=10)
    memory.put(0, "one", state(10))
    assert memory.get(0, "two") is None
    memory.put(0, "two", state(10))
    assert memory.get(0, "two") is not None
    assert memory.get(0, "one") is None
