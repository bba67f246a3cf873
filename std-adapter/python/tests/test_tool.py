"""The command line tool of the wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import training_monitor as tm
from safetensors.numpy import load_file

TOOL = Path(sys.executable).with_name("training-monitor")


def run(*arguments: object, code: int = 0) -> str:
    result = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    return result.stdout + result.stderr


def test_the_tool_reads_and_writes_files_of_the_package(tmp_path: Path) -> None:
    tm.save(tmp_path / "a.ckpt", {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, step=7)
    assert "step" in run("inspect", tmp_path / "a.ckpt")
    run("export", tmp_path / "a.ckpt", "-o", tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors")["model.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    run("import", tmp_path / "a.safetensors", "-o", tmp_path / "b.ckpt")
    assert (tmp_path / "b.ckpt").read_bytes() == (tmp_path / "a.ckpt").read_bytes()


def test_the_tool_has_its_exit_codes(tmp_path: Path) -> None:
    assert "Usage: training-monitor" in run("--help")
    assert run("--version").startswith("training-monitor ")
    assert "error:" in run("inspect", tmp_path / "absent", code=2)
    assert "error:" in run("unknown", code=2)
