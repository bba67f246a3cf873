"""Errors are Python exceptions, and change nothing. Hostile files end with an exception."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import training_monitor as tm
from hypothesis import given
from hypothesis import strategies as st


def test_errors_of_the_operating_system_have_their_own_classes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot read .*absent.ckpt: No such file") as raised:
        tm.load(tmp_path / "absent.ckpt")
    assert raised.value.errno == 2
    with pytest.raises(FileNotFoundError, match=r"cannot write"):
        tm.save(tmp_path / "absent" / "a.ckpt", {"a": 1.0})


def test_a_file_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("some text")
    with pytest.raises(
        tm.CheckpointError, match=r"is not a checkpoint, a directory of checkpoints or a flash dump: it is text"
    ):
        tm.load(path)
    with pytest.raises(tm.CheckpointError, match=r"none of its files is a checkpoint"):
        tm.load(tmp_path)


def test_a_damaged_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    tm.save(path, {"weight": np.zeros(10)})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(tm.CheckpointError, match=r"there is no intact checkpoint: a.ckpt: .*truncated"):
        tm.load(path)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"weight": np.array([1.0, np.nan])}, "element 1 of tensor `weight` is a NaN or an infinity"),
        ({"w": np.zeros((1,) * 7)}, "tensor w has 7 dimensions; a checkpoint allows at most 6"),
        ({"a/b": 1.0}, "a/b"),
        ({}, "object"),
    ],
)
def test_a_save_that_is_refused_keeps_the_existing_file(tmp_path: Path, tensors: dict[str, object], text: str) -> None:
    path = tmp_path / "a.ckpt"
    tm.save(path, {"weight": 1.0})
    before = path.read_bytes()
    with pytest.raises(tm.CheckpointError, match=text):
        tm.save(path, tensors)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]


def test_unknown_element_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"tensor model.a has the element type complex128; a checkpoint allows float32"):
        tm.save(tmp_path / "a.ckpt", {"a": 1j})
    with pytest.raises(TypeError, match=r"tensor model.a is of type object"):
        tm.save(tmp_path / "a.ckpt", {"a": object()})


MODIFICATIONS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5)


@given(
    changes=MODIFICATIONS,
    length=st.floats(0, 1),
    has_correct_checksum=st.booleans(),
    name=st.sampled_from(["v2-all.ckpt", "v2-run.ckpt", "v2-types.ckpt"]),
)
def test_a_modified_file_loads_or_raises_an_error(
    golden: Path,
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[float, int]],
    length: float,
    has_correct_checksum: bool,
    name: str,
) -> None:
    stream = bytearray((golden / name).read_bytes())
    for position, value in changes:
        stream[int(position * len(stream))] = value
    del stream[int(length * len(stream)) + 1 :]
    if has_correct_checksum and len(stream) > 4:
        stream[5:9] = len(stream).to_bytes(4, "little")
        stream[-4:] = zlib.crc32(stream[:-4]).to_bytes(4, "little")
    path = tmp_path_factory.mktemp("hostile") / "a.ckpt"
    path.write_bytes(stream)
    try:
        checkpoint = tm.load(path)
    except tm.CheckpointError:
        return
    assert sum(array.nbytes for array in checkpoint.values()) <= len(stream)


@given(seed=st.integers(0, 2**32))
def test_a_modified_flash_dump_loads_or_raises_an_error(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    path = tmp_path_factory.mktemp("hostile") / "flash.bin"
    tm.flash_image(path, {"weight": np.arange(20)}, slots=2, slot_size=512)
    tm.flash_image(path, {"weight": np.arange(20)}, into=path, step=2)
    random_source = random.Random(seed)
    dump = bytearray(path.read_bytes())
    for _ in range(random_source.randrange(20)):
        dump[random_source.randrange(len(dump))] = random_source.choice([0, 0xFF, random_source.randrange(256)])
    path.write_bytes(dump)
    try:
        checkpoint = tm.load(path)
    except tm.CheckpointError:
        return
    assert checkpoint["model.weight"].tolist() == list(range(20))


@pytest.mark.skipif(os.name != "posix", reason="the test sends a signal")
def test_ctrl_c_interrupts_a_load(tmp_path: Path) -> None:
    # A sparse file of 64 GiB, which takes much longer to search for checkpoints than the test waits.
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.write(b"\x01")
        file.truncate(64 << 30)
    program = f"""
        import training_monitor as tm
        try:
            print("ready", flush=True)
            tm.load({str(path)!r})
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    # The load has begun by then. If it has not, the program ends in the same way.
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[0] == "interrupted\n"
    assert process.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="the test sends a signal")
def test_a_signal_that_interrupts_a_save_keeps_the_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    tm.save(path, {"weight": 1.0})
    before = path.read_bytes()

    class Interruption(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interruption

    previous = signal.signal(signal.SIGALRM, interrupt)
    large = np.zeros(1 << 28, np.float32)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(Interruption):
            tm.save(path, {"weight": large})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]


def test_the_lock_of_the_interpreter_is_released(tmp_path: Path) -> None:
    program = f"""
        import sys, threading, time
        import numpy as np
        import training_monitor as tm
        tm.save({str(tmp_path / "a.ckpt")!r}, {{"weight": np.zeros(1 << 25)}})
        finished = threading.Event()
        def load():
            tm.load({str(tmp_path / "a.ckpt")!r})
            finished.set()
        thread = threading.Thread(target=load)
        # This thread keeps the lock until another thread is waiting for it.
        sys.setswitchinterval(1000)
        thread.start()
        turns = 0
        while not finished.is_set():
            time.sleep(0)
            turns += 1
        print(turns)
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert int(output.stdout) > 100
