"""Converts state dicts to the objects of a checkpoint, and back.

A state dict that maps names to tensors is one object. Another one, for example of an optimizer, is two objects: one has
its tensors, and the value `NAME.state` has everything else as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._checkpoint import Checkpoint
from ._convert import to_torch

_SUFFIX = ".state"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def encode(name: str, state: Mapping[Any, Any]) -> dict[str, Any]:
    """Returns the objects of a state dict, for `save`."""
    if all(isinstance(key, str) and _is_tensor(value) for key, value in state.items()):
        return {name: dict(state)}
    tensors: dict[str, Any] = {}
    skeleton = _encode(name, state, "", tensors)
    return {name: tensors, name + _SUFFIX: json.dumps(skeleton).encode()}


def _encode(name: str, value: Any, path: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """Moves the tensors of a value to `tensors`, and returns the rest."""
    if _is_tensor(value):
        if path in tensors:
            raise ValueError(f"two tensors of the state of {name} would have the name {path}")
        tensors[path] = value
        return {"tensor" if hasattr(value, "detach") else "array": path}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str | int) for key in value):
            raise TypeError(f"the state of {name} has a key at {path!r} that is neither text nor an integer")
        prefix = f"{path}." if path else ""
        return {"map": [(key, _encode(name, item, f"{prefix}{key}", tensors)) for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_encode(name, item, f"{path}.{index}", tensors) for index, item in enumerate(value)]
        return {type(value).__name__ if type(value) in (list, tuple) else "list": items}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"the state of {name} contains a value of type {type(value).__name__} at {path!r}")


def decode(checkpoint: Checkpoint, name: str, target: Any) -> Any:
    """Returns the state dict of an object, for `target.load_state_dict`."""
    if name not in checkpoint.objects:
        raise ValueError(f"Key '{name}' is not found in the checkpoint, which has {', '.join(checkpoint.objects)}")
    state = checkpoint.state_dict(name)
    skeleton = checkpoint.value_bytes.get(name + _SUFFIX)
    if skeleton is not None:
        return _decode(json.loads(skeleton), state)
    torch = sys.modules.get("torch")
    return to_torch(state) if torch is not None and isinstance(target, torch.nn.Module) else state


def _decode(node: dict[str, Any], tensors: Mapping[str, Any]) -> Any:
    ((kind, content),) = node.items()
    if kind == "tensor":
        return to_torch({content: tensors[content]})[content]
    if kind == "array":
        return tensors[content]
    if kind == "map":
        return {key: _decode(item, tensors) for key, item in content}
    if kind in ("list", "tuple"):
        items = [_decode(item, tensors) for item in content]
        return items if kind == "list" else tuple(items)
    return content
