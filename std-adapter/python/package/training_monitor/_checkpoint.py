"""Reads checkpoints."""

from __future__ import annotations

import json
import mmap
import os
import sys
from typing import Any

import numpy as np

from . import _native
from ._convert import to_torch
from ._element import DTYPES

Array = np.ndarray[Any, np.dtype[Any]]


class Checkpoint(dict[str, Array]):
    """The tensors of a checkpoint, by their names `object.tensor`, in the order of the checkpoint.

    The other parts of the checkpoint are attributes.
    """

    #: The step number, which identifies the checkpoint in its series.
    step: int
    #: The sequence number, which identifies the checkpoint in its store.
    sequence: int
    #: The engine's iteration; 0 without an engine.
    iteration: int
    #: The score; `None` without a score.
    score: float | None
    score_name: str | None
    #: The name of the series; empty by default.
    series: str
    #: How the series ranks its checkpoints: "latest" or "best".
    rule: str
    #: The version of the program that wrote the checkpoint.
    writer: str | None
    #: The names and values that the program added.
    metadata: dict[str, bytes]
    #: The names of all objects, in order.
    objects: list[str]
    #: The postcard bytes of the objects that are no lists of tensors, by their names.
    value_bytes: dict[str, bytes]
    #: The state of the engine; `None` if a run cannot resume from the checkpoint.
    run: dict[str, Any] | None
    #: The states of the handlers. Each has the key "handler" with the name of its type.
    handlers: list[dict[str, Any]]

    def __init__(self, stored: _native.StoredCheckpoint, copy: bool) -> None:
        self._stored = stored
        self._names: dict[str, dict[str, str]] = {name: {} for name in stored.objects}
        self.step, self.sequence, self.iteration = stored.step, stored.sequence, stored.iteration
        self.score, self.score_name = stored.score, stored.score_name
        self.series, self.rule, self.writer = stored.series, stored.rule, stored.writer
        self.metadata, self.objects = stored.metadata, stored.objects
        self.value_bytes = stored.values()
        record = stored.run()
        self.run = None if record is None else _with_floats(json.loads(record))
        self.handlers = [] if self.run is None else self.run.pop("handlers")
        files: dict[int, mmap.mmap | None] = {}
        tensors = {}
        for index, (object_name, name, element_type, shape, file, offset, size) in enumerate(stored.tensors()):
            full_name = f"{object_name}.{name}"
            if full_name in tensors:
                raise _native.CheckpointError(f"two tensors would have the name {full_name}")
            self._names[object_name][full_name] = name
            if file not in files:
                files[file] = None if copy else _map_file(stored, file)
            tensors[full_name] = _array(stored, index, DTYPES[element_type], shape, files[file], offset, size)
        super().__init__(tensors)

    def state_dict(self, name: str | None = None) -> dict[str, Array]:
        """Returns the tensors of one object, by their names in the object.

        The argument can be omitted if the checkpoint has one object with tensors.
        """
        candidates = [object_name for object_name in self.objects if object_name not in self.value_bytes]
        if name is None and len(candidates) == 1:
            name = candidates[0]
        if name not in candidates:
            wanted = "the name of an object is needed" if name is None else f"there is no object {name} with tensors"
            raise KeyError(f"{wanted}; the checkpoint has {', '.join(candidates)}")
        return {short: self[full] for full, short in self._names[name].items() if full in self}

    def to_torch(self, name: str | None = None) -> dict[str, Any]:
        """Returns the same tensors as `state_dict`, as tensors of PyTorch for `Module.load_state_dict`."""
        return to_torch(self.state_dict(name))

    def __repr__(self) -> str:
        score = "" if self.score is None else f", {self.score_name or 'score'} {self.score:g}"
        return f"<Checkpoint step {self.step}, iteration {self.iteration}{score}: {len(self)} tensors>"


def load(
    path: str | os.PathLike[str],
    step: int | None = None,
    best: bool = False,
    *,
    series: str | None = None,
    region: tuple[int, int] | None = None,
    slots: int | None = None,
    copy: bool = False,
) -> Checkpoint:
    """Reads the newest checkpoint of a checkpoint file, a directory of checkpoints or a flash dump.

    `step` selects the checkpoint with this step number, `best` the one with the highest score, and `series` those of
    one file name prefix, such as "best", or of one flash region, such as "0x0". `region` (start and end in bytes) and
    `slots` state where the slots of a flash dump are; without them, the commit records show it.

    The checksum is verified before the function returns. The arrays are mapped from the file where possible; changes
    of an array never change the file. Pass `copy=True` if another program may overwrite the file in place, for example
    a flash dump that is recorded again.

    Raises `CheckpointError` if no intact checkpoint matches, and `OSError` if the path cannot be read.
    """
    stored = _native.read_checkpoint(os.fspath(path), step, best, series, region, slots)
    return Checkpoint(stored, copy)


def _map_file(stored: _native.StoredCheckpoint, index: int) -> mmap.mmap | None:
    """Maps a file into memory. Returns `None` if its elements must be copied."""
    if sys.byteorder != "little":
        return None
    descriptor = stored.open_file(index)
    if descriptor is None:
        return None
    try:
        # Pages that the program changes become private copies.
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):
        # Some file systems cannot map files, and an empty file cannot be mapped.
        return None
    finally:
        os.close(descriptor)


def _array(
    stored: _native.StoredCheckpoint,
    index: int,
    dtype: np.dtype[Any],
    shape: list[int],
    mapped: mmap.mmap | None,
    offset: int,
    size: int,
) -> Array:
    if mapped is not None and size > 0 and offset % dtype.itemsize == 0:
        array: Array = np.ndarray(shape, dtype, mapped, offset)
        return array
    array = np.empty(shape, dtype)
    stored.read_tensor(index, array.reshape(-1).view(np.uint8))
    return array.astype(dtype.newbyteorder("="), copy=False)


def _with_floats(value: Any) -> Any:
    """Converts the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _with_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return float(value) if value in ("inf", "-inf", "NaN") else value
