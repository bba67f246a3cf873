"""The Python code of docs/python.md and README.md runs."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import training_monitor as tm
from conftest import REPOSITORY
from test_stores import SLOT, write


@pytest.mark.parametrize("page", ["docs/python.md", "std-adapter/python/README.md"])
def test_the_code_of_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for directory in ["runs/digits", "checkpoints"]:
        Path(directory).mkdir(parents=True)
        write(Path(directory) / "best_checkpoint_1_acc=0.5.ckpt", 1, 1, 0.5)
    tm.flash_image("dump.bin", {"weight": np.zeros(3, np.float32)}, slots=2, slot_size=SLOT)
    try:
        import torch
    except ModuleNotFoundError:
        # A page must not need PyTorch for anything but a state dict.
        state = {"weight": np.ones((2, 4), np.float32), "bias": np.ones(2, np.float32)}
        linear = types.SimpleNamespace(state_dict=lambda: state, load_state_dict=lambda state: None)
        torch = types.SimpleNamespace(nn=types.SimpleNamespace(Linear=lambda *_: linear, Module=str))
    monkeypatch.setitem(sys.modules, "torch", torch)
    namespace = {"torch": torch}
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), namespace)
