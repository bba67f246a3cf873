"""Gives old versions of PyTorch the names that Ignite 0.5.5 uses."""

from __future__ import annotations

import torch


def adapt() -> None:
    """Changes the modules of PyTorch. Ignite is imported after this call."""
    schedulers = torch.optim.lr_scheduler
    if not hasattr(schedulers, "LRScheduler"):
        schedulers.LRScheduler = schedulers._LRScheduler
    if int(torch.__version__.split(".")[0]) < 2:
        load = torch.load
        # These versions cannot load the state of a scheduler as weights only.
        torch.load = lambda *arguments, weights_only=None, **options: load(*arguments, **options)
