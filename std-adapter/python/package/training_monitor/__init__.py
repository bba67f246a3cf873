"""Checkpoints of training-monitor as NumPy arrays.

    >>> import training_monitor as tm
    >>> weights = tm.load("checkpoints", best=True)
    >>> weights["model.hidden.weight"].shape, weights.score
    ((32, 64), 0.9375)

`load` reads a checkpoint file, a directory of checkpoints or a flash dump. `save` writes a checkpoint file, and
`flash_image` writes a flash image from which a device resumes. `Simulation` trains the digits network of the firmware
example on this machine.
"""

from ._checkpoint import Checkpoint, load
from ._convert import to_numpy, to_torch
from ._native import CheckpointError
from ._save import flash_image, save
from ._simulation import Epoch, Metrics, Outcome, Simulation

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Epoch",
    "Metrics",
    "Outcome",
    "Simulation",
    "flash_image",
    "load",
    "save",
    "to_numpy",
    "to_torch",
]
