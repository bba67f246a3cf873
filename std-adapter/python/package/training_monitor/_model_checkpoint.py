"""The handler `ModelCheckpoint`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

from . import _native
from ._checkpoint import Checkpoint, load
from ._save import _contents
from ._state import decode, encode


class ModelCheckpoint:
    """Saves objects to a directory: the best checkpoints by a score, or the latest ones.

    The arguments are those of Ignite. A call receives the engine and the objects to save, which have the methods
    `state_dict` and `load_state_dict`. Each checkpoint is one file, which `load`, the command line tool and a program
    in Rust can read. A checkpoint whose save has succeeded survives a power failure, and the handler removes an older
    one only after that. A new handler on the same directory, with `require_empty=False`, continues the ranking.

    The score is `score_function(engine)`, or `engine.state.metrics[score_name]` if there is only a name. Without both,
    the latest checkpoints are kept. The step number is `global_step_transform(engine, event)`, or the iteration of the
    engine. A NaN never ranks. A model with a NaN or an infinite weight is refused, unless `allow_non_finite` is true.
    """

    def __init__(
        self,
        dirname: str | os.PathLike[str],
        filename_prefix: str = "",
        score_function: Callable[[Any], float] | None = None,
        score_name: str | None = None,
        n_saved: int | None = 1,
        atomic: bool = True,
        require_empty: bool = True,
        create_dir: bool = True,
        global_step_transform: Callable[[Any, Any], int] | None = None,
        greater_or_equal: bool = False,
        allow_non_finite: bool = False,
    ) -> None:
        for name, function in [("score_function", score_function), ("global_step_transform", global_step_transform)]:
            if function is not None and not callable(function):
                raise TypeError(f"{name} should be a function, got {type(function)} instead.")
        if n_saved is not None and n_saved < 1:
            raise ValueError(f"n_saved must be a positive integer or None, got {n_saved}")
        self.dirname = os.fspath(dirname)
        self.filename_prefix = filename_prefix
        self.score_function, self.score_name = score_function, score_name
        self.global_step_transform = global_step_transform
        self._allow_non_finite = allow_non_finite
        self._is_scored = score_function is not None or score_name is not None
        self._directory = _native.CheckpointDirectory(
            self.dirname,
            filename_prefix,
            self._is_scored,
            score_name,
            n_saved,
            greater_or_equal,
            atomic,
            require_empty,
            create_dir,
            allow_non_finite,
        )

    def __call__(self, engine: Any, to_save: Mapping[str, Any]) -> None:
        """Saves the objects if the score is good enough, with the step number and the score of the engine."""
        step = engine.state.iteration
        if self.global_step_transform is not None:
            step = self.global_step_transform(engine, engine.last_event_name)
        score = None
        if self.score_function is not None:
            score = self.score_function(engine)
        elif self.score_name is not None:
            score = engine.state.metrics[self.score_name]
        self.update(step, to_save, score, engine.state.iteration)

    def update(
        self, step: int, to_save: Mapping[str, Any], score: float | None = None, iteration: int | None = None
    ) -> bool:
        """Saves the objects if the score is good enough. Returns whether a checkpoint was saved."""
        if not isinstance(to_save, Mapping):
            raise TypeError(f"Argument `to_save` should be a dictionary, but given {type(to_save)}")
        if len(to_save) == 0:
            raise RuntimeError("No objects to checkpoint found.")
        if self._is_scored and not isinstance(score, Number):
            raise ValueError(f"Output of score_function should be a number, got {type(score)}")
        decision = self._directory.decide(step, score)
        if decision is None:
            return False
        objects: dict[str, Any] = {}
        for name, item in to_save.items():
            if not callable(getattr(item, "state_dict", None)):
                raise TypeError(f"Object {type(item)} should have `state_dict` method")
            encoded = encode(name, item.state_dict())
            if not objects.keys().isdisjoint(encoded):
                raise ValueError(f"two objects of the checkpoint would have the name {name}")
            objects.update(encoded)
        contents = _contents(objects, None, None, None, None, None, None, self._allow_non_finite)
        self._directory.save(step, decision[0], step if iteration is None else iteration, contents)
        return True

    @property
    def kept(self) -> list[tuple[int, float | None]]:
        """The step numbers and the scores of the kept checkpoints, from the worst to the best."""
        return self._directory.kept()

    @property
    def best(self) -> Checkpoint | None:
        """The best checkpoint, or the latest one without a score; `None` before the first save."""
        kept = self.kept
        return self._load(kept[-1][0]) if kept else None

    @property
    def latest(self) -> Checkpoint | None:
        """The latest kept checkpoint; `None` before the first save."""
        latest = self._directory.latest()
        return None if latest is None else self._load(latest[0])

    def _load(self, step: int) -> Checkpoint:
        return load(os.path.expanduser(self.dirname), step=step, series=self.filename_prefix)

    @staticmethod
    def load_objects(to_load: Mapping[str, Any], checkpoint: Checkpoint | str | os.PathLike[str]) -> None:
        """Passes the state of each object of a checkpoint to its method `load_state_dict`."""
        found = checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)
        states = {name: decode(found, name, target) for name, target in to_load.items()}
        for name, target in to_load.items():
            target.load_state_dict(states[name])
