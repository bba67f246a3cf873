"""Writes checkpoint files and flash images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _native
from ._checkpoint import Checkpoint
from ._convert import to_array
from ._element import element_type

_DEFAULT_OBJECT = "model"


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    *,
    step: int | None = None,
    score: float | None = None,
    score_name: str | None = None,
    iteration: int | None = None,
    metadata: Mapping[str, bytes | str] | None = None,
    like: Checkpoint | None = None,
    allow_non_finite: bool = False,
) -> None:
    """Writes a checkpoint file, which replaces an existing file only when it is complete.

    Each value of `tensors` is an array or a tensor, or a whole object: a mapping of names to tensors such as
    `{"model": model.state_dict()}`, or the bytes of a value. The key of a tensor is `object.tensor`; a tensor without
    a dot in its name belongs to the object "model".

    `like` is a checkpoint from which the file takes everything else: the state of the run and of the handlers, so that
    a run can resume, the values, the metadata, the order of the objects, and the tensors that `tensors` lacks. If
    `tensors` is a checkpoint that `load` has returned, it is also the default of `like`. The other arguments replace
    single parts. Without `like`, the step is 1.

    Raises `CheckpointError` if a checkpoint cannot contain the tensors, for example if an element is NaN or infinite
    and `allow_non_finite` is false.
    """
    contents = _contents(tensors, step, score, score_name, iteration, metadata, like, allow_non_finite)
    _native.write_checkpoint(os.fspath(path), contents)


def flash_image(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    *,
    slots: int | None = None,
    slot_size: int | None = None,
    into: str | os.PathLike[str] | None = None,
    region: tuple[int, int] | None = None,
    series: str | None = None,
    step: int | None = None,
    score: float | None = None,
    score_name: str | None = None,
    iteration: int | None = None,
    metadata: Mapping[str, bytes | str] | None = None,
    like: Checkpoint | None = None,
    allow_non_finite: bool = False,
) -> None:
    """Writes a flash image that contains a checkpoint, from which a device resumes if `like` contains a run.

    With `into`, the image is a copy of this flash dump in which the checkpoint is the newest. `region`, `slots` and
    `series` then select one of several regions. Without `into`, the image has `slots` slots of `slot_size` bytes each,
    which must be the numbers of the device's store. The other arguments are those of `save`.
    """
    contents = _contents(tensors, step, score, score_name, iteration, metadata, like, allow_non_finite)
    dump = None if into is None else os.fspath(into)
    _native.write_flash_image(os.fspath(path), contents, slot_size, slots, dump, region, series)


def _contents(
    tensors: Mapping[str, Any],
    step: int | None,
    score: float | None,
    score_name: str | None,
    iteration: int | None,
    metadata: Mapping[str, bytes | str] | None,
    like: Checkpoint | None,
    allow_non_finite: bool,
) -> dict[str, Any]:
    if like is None and isinstance(tensors, Checkpoint):
        like = tensors
    objects: dict[str, Any] = {} if like is None else _objects_of(like)
    # The name of an object can contain a dot. A checkpoint knows the objects of its tensors.
    known = {} if like is None else like._names
    places = {full: (object_name, short) for object_name, names in known.items() for full, short in names.items()}
    seen = set()

    def add(object_name: str, name: str, value: Any) -> None:
        entries = objects.setdefault(object_name, {})
        if (object_name, name) in seen or not isinstance(entries, dict):
            raise ValueError(f"two tensors or values would have the name {object_name}.{name}")
        seen.add((object_name, name))
        entries[name] = value

    for key, value in tensors.items():
        if isinstance(value, bytes | bytearray):
            objects[key] = bytes(value)
        elif isinstance(value, Mapping):
            # The object exists even if it has no tensors.
            objects.setdefault(key, {})
            for name, item in value.items():
                add(key, name, item)
        elif key in places:
            add(*places[key], value)
        else:
            object_name, dot, name = key.partition(".")
            add(*((object_name, name) if dot else (_DEFAULT_OBJECT, key)), value)
    encoded = {} if metadata is None else {name: _bytes(value) for name, value in metadata.items()}
    return {
        "objects": [
            (object_name, entries if isinstance(entries, bytes) else _tensors(object_name, entries))
            for object_name, entries in objects.items()
        ],
        "like": None if like is None else like._stored,
        "step": step,
        "iteration": iteration,
        "score": score,
        "score_name": score_name,
        "metadata": None if metadata is None else sorted(encoded.items(), key=lambda item: item[0].encode()),
        "allow_non_finite": allow_non_finite,
    }


def _objects_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the values and the tensors of a checkpoint by their objects."""
    return {
        name: checkpoint.value_bytes[name] if name in checkpoint.value_bytes else checkpoint.state_dict(name)
        for name in checkpoint.objects
    }


def _tensors(object_name: str, entries: dict[str, Any]) -> list[tuple[str, str, tuple[int, ...], Any]]:
    tensors = []
    for name, value in entries.items():
        full_name = f"{object_name}.{name}"
        array = to_array(full_name, value)
        kind = element_type(full_name, array.dtype)
        # A copy is made only if the elements are not little-endian and in row-major order.
        elements = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        tensors.append((name, kind, array.shape, elements.reshape(-1).view(np.uint8)))
    return tensors


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
