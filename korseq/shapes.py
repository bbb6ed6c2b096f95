"""The shape of plain data: what stands in the dictionaries that predictions become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

# A scalar's type; [the shape of every item] of a list; {key: shape} of a dictionary that always has these keys.
Shape: TypeAlias = "type[str] | type[int] | type[float] | type[bool] | list[Shape] | Mapping[str, Shape]"
