"""The frames on the serial line between a gateway and a node.

A frame is encoded with COBS, so it contains no byte 0, and a byte 0 ends it. The decoded frame is the kind (one byte),
the number of the request (four bytes), the payload, and the CRC-32 of the bytes before it. Integers are little-endian.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from cobs import cobs

_HEADER = struct.Struct("<BI")
_CRC = struct.Struct("<I")
_END = b"\0"

# The receiver drops a longer frame, so that a line without the byte 0 does not fill the memory.
MAX_FRAME = 64 << 20


class Kind(enum.IntEnum):
    """The meaning of a frame. A gateway sends the first two, and a node replies with the others."""

    HELLO = 0x01
    TRAIN = 0x02
    DESCRIPTION = 0x81
    RESULT = 0x82
    PROGRESS = 0x83
    REFUSED = 0xE0
    DAMAGED = 0xE1


class Frame(NamedTuple):
    """A frame whose CRC is correct."""

    kind: int
    request: int
    payload: bytes


class DamagedFrame(ValueError):
    """A frame that was damaged on the line. Its sender can repeat it."""


def encode_frame(frame: Frame) -> bytes:
    """Encodes a frame. A byte 0 also precedes it, because the line may contain a part of another frame."""
    body = _HEADER.pack(frame.kind, frame.request) + frame.payload
    encoded: bytes = cobs.encode(body + _CRC.pack(zlib.crc32(body)))
    return _END + encoded + _END


def decode_frame(encoded: bytes) -> Frame:
    """Decodes the bytes between two bytes 0. Raises `DamagedFrame`."""
    try:
        decoded = cobs.decode(encoded)
    except cobs.DecodeError as error:
        raise DamagedFrame(f"frame: {error}") from None
    body, crc = decoded[: -_CRC.size], decoded[-_CRC.size :]
    if len(body) < _HEADER.size:
        raise DamagedFrame(f"frame: {len(decoded)} bytes; expected at least {_HEADER.size + _CRC.size}")
    received, computed = _CRC.unpack(crc)[0], zlib.crc32(body)
    if received != computed:
        raise DamagedFrame(f"frame: CRC-32 {received:08x}; expected {computed:08x}")
    kind, request = _HEADER.unpack_from(body)
    return Frame(kind, request, body[_HEADER.size :])


class FrameReader:
    """Divides received bytes into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Adds received bytes, and returns the encoded frames that are now complete, for `decode_frame`."""
        *complete, rest = received.split(_END)
        for part in complete:
            self._append(part)
            encoded, self._bytes = bytes(self._bytes), bytearray()
            if encoded:
                yield encoded
        self._append(rest)

    def _append(self, part: bytes) -> None:
        # The byte after the limit stays, so that the frame is found to be damaged.
        self._bytes += part[: max(0, MAX_FRAME + 1 - len(self._bytes))]
