"""The element types of a checkpoint as NumPy types."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

#: The NumPy type of each element type, by the name in the checkpoint. The elements are little-endian.
DTYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype("<f4"),
    "f64": np.dtype("<f8"),
    "f16": np.dtype("<f2"),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i8": np.dtype("i1"),
    "u8": np.dtype("u1"),
    "i16": np.dtype("<i2"),
    "u16": np.dtype("<u2"),
    "i32": np.dtype("<i4"),
    "u32": np.dtype("<u4"),
    "i64": np.dtype("<i8"),
    "u64": np.dtype("<u8"),
    "bool": np.dtype("?"),
}

_NAMES = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}


def element_type(name: str, dtype: np.dtype[Any]) -> str:
    """Returns the name of the element type of a tensor."""
    try:
        return _NAMES[dtype.newbyteorder("=")]
    except KeyError:
        expected = ", ".join(str(dtype.newbyteorder("=")) for dtype in DTYPES.values())
        raise TypeError(f"tensor {name} has the element type {dtype}; a checkpoint allows {expected}") from None
