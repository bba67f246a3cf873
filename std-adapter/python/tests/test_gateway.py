"""The gateway: frames with hostile bytes, a serial line with faults, and boards that are killed in a round."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import nodes
import numpy as np
import pytest
import training_monitor as tm
from conftest import REPOSITORY
from hypothesis import example, given
from hypothesis import strategies as st
from nodes import Board
from training_monitor._frame import DamagedFrame, Frame, FrameReader, Kind, decode_frame, encode_frame
from training_monitor.gateway import Gateway, RefusedError, Round, UnreachableError

FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=600))

# A test without a board is skipped.
BOARDS = nodes.AVAILABLE or [pytest.param("", marks=pytest.mark.skip(reason="`check gateway` provides boards"))]


def weights(seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(seed)
    shapes = {"fc1.weight": (32, 64), "fc1.bias": (32,), "fc2.weight": (10, 32), "fc2.bias": (10,)}
    return {name: generator.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def bits(arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.shape, array.dtype, array.tobytes()) for name, array in arrays.items()}


@given(st.lists(FRAMES, max_size=4), st.lists(st.integers(1, 300)))
def test_frames_arrive_in_any_pieces(frames: list[Frame], sizes: list[int]) -> None:
    line, reader, received = b"".join(map(encode_frame, frames)), FrameReader(), []
    for size in [*sizes, len(line)]:
        received += [decode_frame(encoded) for encoded in reader.feed(line[:size])]
        line = line[size:]
    assert received == frames


@given(st.binary(max_size=2000), FRAMES)
@example(b"\xff" * 2000, Frame(1, 2, b"\0" * 300))
def test_hostile_bytes_do_not_hide_the_next_frame(hostile: bytes, frame: Frame) -> None:
    received = []
    for encoded in FrameReader().feed(hostile + encode_frame(frame)):
        try:
            received.append(decode_frame(encoded))
        except DamagedFrame:
            pass
    # A CRC-32 of random bytes is correct in one of four thousand million cases.
    assert received == [frame]


@given(FRAMES, st.data())
def test_each_damage_is_found(frame: Frame, data: st.DataObject) -> None:
    (encoded,) = FrameReader().feed(encode_frame(frame))
    position = data.draw(st.integers(0, len(encoded) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    damaged = bytearray(encoded)
    damaged[position] ^= bit
    for part in FrameReader().feed(bytes(damaged) + b"\0"):
        with pytest.raises(DamagedFrame):
            decode_frame(part)


def test_a_line_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_monitor._frame.MAX_FRAME", 1000)
    reader = FrameReader()
    for _ in range(100):
        assert list(reader.feed(b"\x01" * 100)) == []
    (encoded,) = reader.feed(b"\0")
    assert len(encoded) == 1001


def description(request: int) -> Frame:
    path = Path("description.ckpt")
    settings = {"number": np.uint32(0), "local_epochs": np.uint32(0), "partition": np.zeros(2, np.uint32)}
    settings |= {"seed": np.uint32(0), "learning_rate": np.float32(0)}
    network = {"network": np.array([64, 32, 10], np.uint32)}
    tm.save(path, {"node": network, "request": settings}, metadata={"name": "test"})
    return Frame(Kind.DESCRIPTION, request, path.read_bytes())


@pytest.fixture(autouse=True)
def in_a_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_damaged_reply_and_a_damaged_request_are_repeated() -> None:
    requests: list[Frame] = []

    def answer(frame: Frame | DamagedFrame) -> bytes:
        assert isinstance(frame, Frame)
        requests.append(frame)
        reply = encode_frame(description(frame.request))
        if len(requests) == 1:
            return reply[:100] + b"\x07" + reply[101:]
        if len(requests) == 2:
            return encode_frame(Frame(Kind.DAMAGED, 0, b"frame: CRC-32"))
        # A late reply to another request, and a part of a frame, precede the reply.
        late = encode_frame(Frame(Kind.DESCRIPTION, frame.request ^ 1, b"late"))
        return late + reply

    with nodes.controlled(answer) as port, Gateway(port, timeout=10) as gateway:
        assert gateway.hello().network == (64, 32, 10)
    assert len(requests) == 3
    assert requests == [requests[0]] * 3


def test_a_node_without_a_reply_is_unreachable() -> None:
    requests: list[object] = []

    def answer(frame: object) -> bytes:
        requests.append(frame)
        return b""

    with nodes.controlled(answer) as port, Gateway(port, timeout=0.1, attempts=3) as gateway:
        with pytest.raises(
            UnreachableError, match=f"{port}: no reply to 3 requests; the last problem: no frame within"
        ):
            gateway.hello()
    assert len(requests) == 3
    with Gateway("missing", timeout=0.1, attempts=2) as gateway, pytest.raises(UnreachableError, match="missing"):
        gateway.hello()


def test_epochs_reset_the_attempts_only_if_they_are_new() -> None:
    requests: list[Frame] = []

    def answer(frame: Frame | DamagedFrame) -> bytes:
        assert isinstance(frame, Frame)
        requests.append(frame)
        epoch = min(len(requests), 4)
        progress = encode_frame(Frame(Kind.PROGRESS, frame.request, epoch.to_bytes(4, "little")))
        return progress + encode_frame(Frame(Kind.DAMAGED, 0, b"power failure"))

    with nodes.controlled(answer) as port, Gateway(port, timeout=10, attempts=2) as gateway:
        with pytest.raises(UnreachableError, match="power failure"):
            gateway.train(weights(), 1)
    # Four requests with a new epoch, and two without.
    assert len(requests) == 6


def test_settings_that_make_no_sense_are_refused() -> None:
    for settings in [{"attempts": 0}, {"timeout": 0}]:
        with pytest.raises(ValueError, match="must be positive"):
            Gateway("port", **settings)  # type: ignore[arg-type]
    model = weights()
    model["fc1.bias"][0] = np.nan
    with pytest.raises(tm.CheckpointError, match=r"fc1\.bias"):
        Gateway("port").train(model, 1)


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_trains_and_keeps_its_result(name: str, tmp_path: Path) -> None:
    epochs: list[int] = []
    settings: Any = {"partition": (1, 8), "local_epochs": 2, "learning_rate": 0.1, "on_progress": epochs.append}
    with nodes.running(tmp_path / "board", name) as board, Gateway(board.port, **settings) as gateway:
        description = gateway.hello()
        assert (description.name, description.network, description.round) == (name, (64, 32, 10), None)
        first, metrics = gateway.train(weights(), round=1)
        assert epochs == [1, 2]
        assert metrics["num-examples"] == 150
        assert 0.1 < metrics["accuracy"] < 1 and 0.1 < metrics["loss"] < 2.5 and 0.1 < metrics["val_loss"] < 2.5
        second, _ = gateway.train(first, round=2)
        assert bits(first) != bits(second)
        assert epochs == [1, 2, 1, 2]

        # The board has lost its memory, but not its flash. The result is not trained again.
        board.kill()
        board.start()
        named = {f"model.{name}": array for name, array in first.items()}
        again, _ = gateway.train(named, round=2)
        assert set(again) == set(named)
        again = {name.removeprefix("model."): array for name, array in again.items()}
        assert bits(again) == bits(second)
        assert epochs == [1, 2, 1, 2]
        stored = gateway.hello().round
        assert stored == Round(2, 2, (1, 8), 1, float(np.float32(0.1)))


@pytest.mark.parametrize("name", BOARDS)
def test_a_refusal_names_the_fault_and_changes_nothing(name: str, tmp_path: Path) -> None:
    with nodes.running(tmp_path / "board", name) as board, Gateway(board.port) as gateway:
        gateway.train(weights(), round=1)
        before = {path: path.read_bytes() for path in board.directory.rglob("*") if path.is_file()}
        model = weights()
        del model["fc2.bias"]
        with pytest.raises(RefusedError, match=r"does not contain `fc2\.bias`"):
            gateway.train(model, round=2)
        model = weights()
        model["fc1.weight"] = model["fc1.weight"].astype(np.float16)
        with pytest.raises(RefusedError, match=r"fc1\.weight"):
            gateway.train(model, round=2)
        gateway.partition = (8, 8)
        with pytest.raises(RefusedError, match=r"round.partition: 8 of 8; expected an index below a count"):
            gateway.train(weights(), round=2)
        assert {path: path.read_bytes() for path in board.directory.rglob("*") if path.is_file()} == before
        assert gateway.hello().round == Round(1, 1, (0, 1), 1, float(np.float32(0.2)))


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    if "host" not in nodes.AVAILABLE:
        pytest.skip("`check gateway` provides boards")
    (block,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/gateway.md").read_text(), re.DOTALL)
    with nodes.running(tmp_path / "board", "host") as board:
        namespace: dict[str, Any] = {"weights": weights()}
        exec(block.replace("/dev/serial/by-id/usb-board", board.port), namespace)
    assert namespace["metrics"]["num-examples"] == 150


class Killer:
    """Kills a board after its first epochs, and starts it again."""

    def __init__(self, board: Board, epochs: set[int]) -> None:
        self.board = board
        self.epochs = epochs

    def __call__(self, epoch: int) -> None:
        if epoch in self.epochs:
            self.epochs.remove(epoch)
            self.board.kill()
            self.board.start()


@pytest.mark.parametrize("name", BOARDS)
def test_rounds_whose_board_is_killed_end_with_the_same_bits(name: str, tmp_path: Path) -> None:
    """Each node must return the bits of an undisturbed simulated node on the host."""
    settings: Any = {"partition": (3, 8), "local_epochs": 6, "seed": 7}
    expected, model = [], weights(2)
    with nodes.running(tmp_path / "undisturbed", "host") as board:
        with Gateway(board.port, **settings) as gateway:
            for number in [1, 2]:
                model, metrics = gateway.train(model, number)
                expected.append((bits(model), metrics))

    model = weights(2)
    with nodes.running(tmp_path / "killed", name) as board:
        with Gateway(board.port, timeout=5, **settings) as gateway:
            for number, (expected_bits, expected_metrics) in enumerate(expected, 1):
                gateway.on_progress = Killer(board, set(random.Random(number).sample(range(1, 7), 3)))
                model, metrics = gateway.train(model, number)
                assert bits(model) == expected_bits
                assert metrics == expected_metrics
        assert board.starts == 7
