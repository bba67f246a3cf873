"""A gateway: a board as a node of a fleet, through a serial port.

    >>> from training_monitor.gateway import Gateway
    >>> with Gateway("/dev/ttyACM0", partition=(0, 8)) as board:
    ...     weights, metrics = board.train(weights, round=1)

The board runs the firmware program `node`. It saves its state in flash after each epoch of a round. When the board or
the gateway restarts in a round, the gateway sends the request again, and the board continues with the same bits.

The module needs the packages `pyserial` and `cobs`, which `pip install training-monitor[gateway]` installs.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import serial

from . import _native
from ._checkpoint import Array, Checkpoint
from ._frame import DamagedFrame, Frame, FrameReader, Kind, decode_frame, encode_frame
from ._save import _contents

try:
    from termios import error as _TermiosError
except ImportError:  # Windows has no termios.
    _TermiosError = OSError  # type: ignore[misc, assignment]

# pyserial does not convert every error of the operating system.
_PORT_ERRORS = (OSError, _TermiosError)

# The names of a checkpoint begin with the name of the object.
_PREFIX = "model."

# The time between two attempts to open a port that does not exist, in seconds.
_OPEN_INTERVAL = 0.1


class GatewayError(Exception):
    """A node did not execute a request."""


class RefusedError(GatewayError):
    """The node does not execute the request, for example because the weights are those of another network.

    The text is that of the node. Nothing has changed on the node, and the same request would be refused again.
    """


class UnreachableError(GatewayError):
    """No attempt got a reply: the port does not exist, the board does not answer, or each frame was damaged."""


@dataclass(frozen=True)
class Round:
    """The settings of a round."""

    number: int
    local_epochs: int
    partition: tuple[int, int]
    seed: int
    learning_rate: float


@dataclass(frozen=True)
class Description:
    """What a node reports of itself."""

    name: str
    """The name of the board."""
    network: tuple[int, int, int]
    """The numbers of inputs, hidden units and outputs."""
    round: Round | None
    """The settings of the newest round that is saved on the node, complete or not."""


class Gateway:
    """Sends rounds to the board at a serial port, and returns its weights.

    `port` is a path such as `/dev/serial/by-id/usb-board` or another name that pyserial knows. The first request opens
    the port, and it is opened again after the board has disappeared. The path should therefore not depend on the order
    in which boards are connected.

    `partition` is the index of the node's part of the training images, and the number of parts. `learning_rate`,
    `local_epochs` and `seed` are the other settings of a round.

    `timeout` is the longest time in seconds without a frame from the node: it must be longer than an epoch on the
    board, and than the transfer of the weights. After `attempts` requests in a row without a reply or a new epoch, a
    method raises `UnreachableError`. `on_progress` receives the number of each epoch after the board has saved it.
    """

    def __init__(
        self,
        port: str,
        *,
        partition: tuple[int, int] = (0, 1),
        local_epochs: int = 1,
        seed: int = 1,
        learning_rate: float = 0.2,
        baudrate: int = 115200,
        timeout: float = 10.0,
        attempts: int = 5,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        if attempts < 1 or timeout <= 0:
            raise ValueError(f"attempts {attempts} and timeout {timeout}: both must be positive")
        self.port = port
        self.partition = partition
        self.local_epochs = local_epochs
        self.seed = seed
        self.learning_rate = learning_rate
        self.baudrate = baudrate
        self.timeout = timeout
        self.attempts = attempts
        self.on_progress = on_progress
        self._serial: serial.Serial | None = None
        self._reader = FrameReader()
        self._frames: list[bytes] = []
        # The first number is random, so that a reply to the request of an earlier gateway is not taken for a reply to
        # this one.
        self._request = secrets.randbits(32)

    def hello(self) -> Description:
        """Asks the node for its name, its network and its newest round."""
        reply = _decode(self._exchange(Kind.HELLO, b"", Kind.DESCRIPTION))
        stored = _round(reply)
        name = reply.metadata["name"].decode(errors="replace")
        inputs, hidden, outputs = (int(number) for number in reply["node.network"])
        return Description(name, (inputs, hidden, outputs), stored if stored.local_epochs else None)

    def train(self, weights: Mapping[str, Any], round: int) -> tuple[dict[str, Array], dict[str, float]]:
        """Trains the round with this number on the board, from `weights`: the state dict of the network.

        The names of the weights are those of the network, with or without the prefix `model.` of a checkpoint. Returns
        the new weights under the same names, and the metrics: `loss`, the mean training loss of the last epoch,
        `val_loss` and `accuracy` on the validation images, and `num-examples`, the number of training images. If the
        board has finished the same round with the same weights before, it returns the stored result.

        Raises `RefusedError`, `UnreachableError`, and `CheckpointError` if the weights cannot be sent, for example
        because one of them is NaN.
        """
        settings = {
            "number": np.array(round, np.uint32),
            "local_epochs": np.array(self.local_epochs, np.uint32),
            "partition": np.array(self.partition, np.uint32),
            "seed": np.array(self.seed, np.uint32),
            "learning_rate": np.array(self.learning_rate, np.float32),
        }
        prefix = _PREFIX if all(name.startswith(_PREFIX) for name in weights) else ""
        model = {name.removeprefix(prefix): value for name, value in weights.items()}
        payload = _encode({"model": model, "round": settings}, round)
        reply = _decode(self._exchange(Kind.TRAIN, payload, Kind.RESULT))
        metrics = reply.state_dict("metrics")
        return {prefix + name: array for name, array in reply.state_dict("model").items()}, {
            "loss": float(metrics["loss"]),
            "val_loss": float(metrics["val_loss"]),
            "accuracy": float(metrics["accuracy"]),
            "num-examples": int(metrics["examples"]),
        }

    def close(self) -> None:
        """Closes the port. The next request opens it again."""
        port, self._serial = self._serial, None
        self._reader, self._frames = FrameReader(), []
        if port is not None:
            try:
                port.close()
            except _PORT_ERRORS:
                pass  # The board has disappeared.

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, kind: Kind, payload: bytes, expected: Kind) -> bytes:
        """Sends a request until the node replies. Returns the payload of the reply."""
        self._request = (self._request + 1) & 0xFFFF_FFFF
        frame = encode_frame(Frame(kind, self._request, payload))
        failures, epoch, problem = 0, 0, ""
        while failures < self.attempts:
            failures += 1
            try:
                self._connect().write(frame)
                while True:
                    reply = self._receive()
                    if reply.kind == expected:
                        return reply.payload
                    if reply.kind == Kind.REFUSED:
                        raise RefusedError(f"{self.port}: {_text(reply)}")
                    if reply.kind == Kind.DAMAGED:
                        raise DamagedFrame(f"received by the node: {_text(reply)}")
                    if reply.kind == Kind.PROGRESS and len(reply.payload) == 4:
                        (reached,) = struct.unpack("<I", reply.payload)
                        if reached > epoch:
                            # The board makes progress, even if it restarts again and again.
                            failures, epoch = 0, reached
                        if self.on_progress is not None:
                            self.on_progress(reached)
            except (DamagedFrame, TimeoutError) as error:
                problem = str(error)
            except _PORT_ERRORS as error:
                problem = str(error)
                self.close()
        raise UnreachableError(f"{self.port}: no reply to {self.attempts} requests; the last problem: {problem}")

    def _connect(self) -> serial.Serial:
        """Opens the port, and waits up to the timeout until it exists."""
        deadline = time.monotonic() + self.timeout
        while self._serial is None:
            try:
                self._serial = serial.Serial(self.port, self.baudrate, write_timeout=self.timeout)
            except _PORT_ERRORS:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_OPEN_INTERVAL)
        return self._serial

    def _receive(self) -> Frame:
        """Waits for the next reply to the request. Replies to older requests are skipped."""
        deadline = time.monotonic() + self.timeout
        port = self._connect()
        while True:
            while self._frames:
                frame = decode_frame(self._frames.pop(0))
                # The node does not know the number of a request that it received damaged.
                if frame.request == self._request or frame.kind == Kind.DAMAGED:
                    return frame
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"no frame within {self.timeout:g} s")
            port.timeout = remaining
            self._frames += self._reader.feed(port.read(max(1, port.in_waiting)))


def _round(checkpoint: Checkpoint) -> Round:
    settings = checkpoint.state_dict("request")
    index, count = (int(number) for number in settings["partition"])
    return Round(
        int(settings["number"]),
        int(settings["local_epochs"]),
        (index, count),
        int(settings["seed"]),
        float(settings["learning_rate"]),
    )


def _text(frame: Frame) -> str:
    return frame.payload.decode(errors="replace")


def _encode(objects: Mapping[str, Any], step: int) -> bytes:
    contents = _contents(objects, step, None, None, None, None, None, False)
    return _native.encode_checkpoint("request", contents)


def _decode(payload: bytes) -> Checkpoint:
    return Checkpoint(_native.decode_checkpoint(payload), copy=True)
