"""Nodes for the tests of the gateway: a simulated board in a process, a board in an emulator, and a controlled one.

The environment variables NODE_HOST, NODE_M4F and NODE_RV32 are the paths of the program `node` of the firmware example,
for the host, the Cortex-M4F and the RV32IMC. The step `gateway` of `check` builds them.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from training_monitor._frame import DamagedFrame, Frame, FrameReader, decode_frame


class Board:
    """A program with a serial port at the path `port`, which a restart replaces, as with a board at a USB port."""

    def __init__(self, directory: Path, command: list[str]) -> None:
        """Starts `command` in `directory`."""
        self.directory = directory
        self.port = str(directory / "port")
        self.command = command
        self.starts = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        self.starts += 1
        emulated = self.command[0].startswith("qemu")
        # The emulator creates a pseudo-terminal itself, and prints its path.
        controller, terminal = (None, None) if emulated else os.openpty()
        if terminal is not None:
            tty.setraw(terminal)
        self._process = subprocess.Popen(
            self.command,
            cwd=self.directory,
            stdin=subprocess.DEVNULL if emulated else controller,
            stdout=subprocess.PIPE if emulated else controller,
            text=True,
        )
        if terminal is not None and controller is not None:
            path = os.ttyname(terminal)
            os.close(controller)
            self._terminal = terminal
        else:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            found = re.search(r"/dev/pts/\d+", line)
            assert found, line
            path = found.group()
            self._terminal = -1
        link = self.directory / "new"
        link.symlink_to(path)
        link.replace(self.port)

    def kill(self) -> None:
        """Ends the program at once, as a power failure ends the program of a board."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
            Path(self.port).unlink()
            if self._terminal >= 0:
                os.close(self._terminal)


#: The boards whose programs the environment contains.
AVAILABLE = [name for name in ["host", "m4f", "rv32"] if f"NODE_{name.upper()}" in os.environ]

# Size of the emulated flash of the RV32IMC.
_FLASH = 32 << 20


def _command(name: str) -> list[str]:
    program = os.environ[f"NODE_{name.upper()}"]
    if name == "host":
        return [program, "flash"]
    machine = {
        "m4f": f"qemu-system-arm -cpu cortex-m4 -machine mps2-an386 -kernel {program}",
        "rv32": f"qemu-system-riscv32 -machine virt -bios none -device loader,file={program}"
        " -drive if=pflash,unit=1,format=raw,file=flash.img",
    }
    options = "-display none -monitor none -serial pty -semihosting-config enable=on,target=native"
    return f"{machine[name]} {options}".split()


@contextmanager
def running(directory: Path, name: str) -> Iterator[Board]:
    """A board that runs in the new directory."""
    directory.mkdir()
    if name == "rv32":
        (directory / "flash.img").write_bytes(b"\xff" * _FLASH)
    board = Board(directory, _command(name))
    try:
        yield board
    finally:
        board.kill()


@contextmanager
def controlled(answer: Callable[[Frame | DamagedFrame], bytes]) -> Iterator[str]:
    """The path of a serial port. `answer` receives each frame of the gateway, and returns the bytes that it gets."""
    controller, terminal = os.openpty()
    tty.setraw(terminal)

    def serve() -> None:
        reader = FrameReader()
        while True:
            try:
                received = os.read(controller, 4096)
            except OSError:  # The test has ended.
                return
            for encoded in reader.feed(received):
                try:
                    frame: Frame | DamagedFrame = decode_frame(encoded)
                except DamagedFrame as error:
                    frame = error
                os.write(controller, answer(frame))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(terminal)
    finally:
        os.close(terminal)
        thread.join()
        os.close(controller)
