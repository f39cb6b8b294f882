"""Procedural still lifes and the small ray tracer that renders their photos."""

from collections.abc import Callable

from .garden import garden
from .room import room
from .still_life import StillLife

VARIANTS: dict[str, Callable[[], StillLife]] = {"room": room, "garden": garden}
