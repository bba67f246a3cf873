"""The Python code of docs/studies.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")

PAGE = Path(__file__).resolve().parents[4] / "docs" / "studies.md"


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)
    study = namespace["study"]
    assert isinstance(study, optuna.Study) and len(study.trials) == 6
    directory = Path(study.best_trial.user_attrs["directory"])
    assert (directory / "run.svg").exists()
