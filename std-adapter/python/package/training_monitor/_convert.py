"""Converts state dicts between NumPy and other libraries, which are imported only for a conversion to their tensors."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def to_numpy(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the values of a state dict to NumPy arrays with the same element types and bits.

    A value can be an array, a tensor of PyTorch, an object with the method `__array__`, a number, or another state
    dict. Where possible, the array shares the memory of the tensor.
    """
    return {
        name: to_numpy(value) if isinstance(value, Mapping) else to_array(name, value)
        for name, value in tensors.items()
    }


def to_array(name: str, value: Any) -> Array:
    """Converts one tensor to an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        torch = sys.modules["torch"]
        if value.dtype == torch.bfloat16:
            # NumPy has no such type, but the type of ml_dtypes has the same bits.
            return np.asarray(value.view(torch.int16).numpy()).view(ml_dtypes.bfloat16)
        return np.asarray(value.numpy())
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError(f"tensor {name} is of type {type(value).__name__}, which is no array of numbers")
    return array


def to_torch(tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Converts arrays to tensors of PyTorch with the same element types and bits, which share their memory.

    PyTorch must be installed. Raises `TypeError` if the installed version has no such element type.
    """
    import torch

    def convert(array: Array) -> Any:
        array = np.ascontiguousarray(array).reshape(array.shape)
        if not array.flags.writeable:
            array = array.copy()
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    return {name: convert(array) for name, array in tensors.items()}
