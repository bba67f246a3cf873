"""Random tensors of every element type, with any bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from training_monitor._element import DTYPES

NAMES = st.text(st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="/\\."), min_size=1, max_size=20)
NAMES = NAMES.filter(lambda name: len(name.encode()) <= 255)


@st.composite
def arrays(draw: Any) -> np.ndarray[Any, Any]:
    """An array with any bits, shape and memory layout."""
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=6)))
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    elements = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype.kind == "b":
        elements = bytearray(byte & 1 for byte in elements)
    array = np.frombuffer(elements, dtype).reshape(shape)
    layout = draw(st.sampled_from(["C", "F", "reversed", "big-endian"]))
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed":
        return array[..., ::-1] if array.ndim else array
    if layout == "big-endian" and dtype.kind in "fiu":
        return array.astype(dtype.newbyteorder(">"))
    return array


def models() -> st.SearchStrategy[dict[str, Any]]:
    """The tensors and values of one or several objects."""
    state_dict = st.dictionaries(NAMES, arrays(), max_size=4)
    return st.dictionaries(NAMES, state_dict | st.binary(max_size=100), min_size=1, max_size=3)


def bits(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], bytes]:
    """The element type, the shape and the elements of an array."""
    dtype = array.dtype.newbyteorder("<")
    return str(dtype.newbyteorder("=")), array.shape, np.ascontiguousarray(array).astype(dtype).tobytes()
