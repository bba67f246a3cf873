"""`load` and `save`: names, element types, shapes and bits are preserved."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import training_monitor as tm
from hypothesis import given
from hypothesis import strategies as st
from strategies import bits, models
from training_monitor._element import DTYPES


@given(
    model=models(),
    step=st.integers(0, 2**32 - 1),
    score=st.none() | st.floats(width=32, allow_nan=False),
    copy=st.booleans(),
)
def test_a_saved_checkpoint_loads_with_the_same_names_types_shapes_and_bits(
    tmp_path_factory: pytest.TempPathFactory, model: dict[str, Any], step: int, score: float | None, copy: bool
) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "a.ckpt"
    tm.save(path, model, step=step, score=score, metadata={"key": b"\xff", "text": "ä"}, allow_non_finite=True)
    loaded = tm.load(path, copy=copy)
    assert loaded.objects == list(model)
    for name, content in model.items():
        if isinstance(content, bytes):
            assert loaded.value_bytes[name] == content
            continue
        found = loaded.state_dict(name)
        assert list(found) == list(content)
        for tensor in content:
            assert bits(found[tensor]) == bits(content[tensor]), (name, tensor)
    assert loaded.step == step
    # The score is the shortest number that rounds to the same 32 bits.
    assert loaded.score is None if score is None else np.float32(loaded.score) == np.float32(score)
    assert loaded.metadata == {"key": b"\xff", "text": "ä".encode()}
    # The same content has the same bytes.
    tm.save(path.with_name("b.ckpt"), loaded, allow_non_finite=True)
    assert path.with_name("b.ckpt").read_bytes() == path.read_bytes()


def test_a_loaded_golden_file_is_saved_with_the_same_bytes(golden: Path, tmp_path: Path) -> None:
    for name in ["v2-all.ckpt", "v2-types.ckpt", "v2-run.ckpt", "v2-bare.ckpt"]:
        checkpoint = tm.load(golden / name)
        tm.save(tmp_path / name, checkpoint, allow_non_finite=True)
        again = tm.load(tmp_path / name)
        assert {key: bits(value) for key, value in again.items()} == {
            key: bits(value) for key, value in checkpoint.items()
        }
        assert (again.run, again.handlers, again.value_bytes) == (
            checkpoint.run,
            checkpoint.handlers,
            checkpoint.value_bytes,
        )


def test_the_run_and_the_states_of_the_handlers_are_shown(golden: Path) -> None:
    checkpoint = tm.load(golden / "v2-run.ckpt")
    assert checkpoint.run is not None
    assert checkpoint.run["iteration"] == checkpoint.iteration
    assert "EarlyStopping" in [state["handler"] for state in checkpoint.handlers]
    assert tm.load(golden / "v2-bare.ckpt").run is None


def test_the_golden_file_of_types_has_every_element_type(golden: Path) -> None:
    found = {str(array.dtype) for array in tm.load(golden / "v2-types.ckpt").values()}
    assert found == {str(dtype) for dtype in DTYPES.values()}


def test_arrays_are_mapped_from_the_file_and_never_change_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    tm.save(path, {"weight": np.arange(1000.0)})
    before = path.read_bytes()
    weight = tm.load(path)["model.weight"]
    assert weight.base is not None and not weight.flags.owndata
    assert weight.ctypes.data % weight.itemsize == 0
    weight += 1
    assert path.read_bytes() == before
    # A new file replaces the old one, which stays mapped.
    tm.save(path, {"weight": np.zeros(1000)})
    gc.collect()
    assert weight[999] == 1000.0
    assert tm.load(path, copy=True)["model.weight"].base is None


def test_loading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("the platform does not list the descriptors of a process")
    tm.save(tmp_path / "a.ckpt", {"weight": np.zeros(4)})
    tm.load(tmp_path / "a.ckpt")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        tm.load(tmp_path / "a.ckpt")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_like_keeps_the_run_and_the_tensors_that_are_not_given(golden: Path, tmp_path: Path) -> None:
    checkpoint = tm.load(golden / "v2-run.ckpt")
    name, array = next(iter(checkpoint.items()))
    changed = np.ones_like(array)
    tm.save(tmp_path / "a.ckpt", {name: changed}, like=checkpoint, step=99, score=0.5)
    again = tm.load(tmp_path / "a.ckpt")
    assert bits(again[name]) == bits(changed)
    assert list(again) == list(checkpoint)
    assert (again.step, again.score, again.run) == (99, 0.5, checkpoint.run)


def test_a_key_with_a_dot_names_the_object(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    tm.save(path, {"a": 1.0, "layer.0.bias": [1, 2], "rng": b"\x01"})
    loaded = tm.load(path)
    assert list(loaded) == ["model.a", "layer.0.bias"]
    assert loaded.objects == ["model", "layer", "rng"]
    assert list(loaded.state_dict("layer")) == ["0.bias"]
    with pytest.raises(KeyError, match=r"the name of an object is needed; the checkpoint has model, layer"):
        loaded.state_dict()
    with pytest.raises(ValueError, match=r"two tensors or values would have the name model.a"):
        tm.save(path, {"a": 1.0, "model.a": 2.0})


def test_bfloat16_and_half_keep_their_bits(tmp_path: Path) -> None:
    values = np.array([0x7FC1, 0x0001, 0x8000], np.uint16)
    tm.save(
        tmp_path / "a.ckpt", {"b": values.view(ml_dtypes.bfloat16), "h": values.view(np.float16)}, allow_non_finite=True
    )
    loaded = tm.load(tmp_path / "a.ckpt")
    assert loaded["model.b"].dtype == ml_dtypes.bfloat16
    assert loaded["model.b"].view(np.uint16).tolist() == loaded["model.h"].view(np.uint16).tolist() == values.tolist()


def test_threads_can_load_and_save_at_the_same_time(tmp_path: Path) -> None:
    errors = []

    def work(index: int) -> None:
        try:
            for round in range(20):
                array = np.full(5000, index * 100 + round, np.int32)
                tm.save(tmp_path / f"{index}.ckpt", {"a": array})
                assert np.array_equal(tm.load(tmp_path / f"{index}.ckpt")["model.a"], array)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
