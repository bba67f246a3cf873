"""Reads checkpoint streams of version 2, written from core/src/checkpoint/FORMAT.md alone. It prints one line for each
stream: the verdict (valid, invalid, newer, unsupported version) and, if the stream is valid, its content.

    python3 reader.py FILE...      each file contains one stream
    python3 reader.py < STREAMS    streams that each follow their length (u32)

Names, texts and short byte strings are printed in hexadecimal digits, payloads as their CRC-32. The attribute `arrays`
of a Stream contains the tensors as numpy arrays. numpy has no bf16; such a tensor is an array of u16.
"""

import math
import re
import struct
import sys
from zlib import crc32

import numpy as np

BOOL = 12
TYPES = [np.dtype(code) for code in "<f4 <f8 <f2 <u2 i1 u1 <i2 <u2 <i4 <u4 <i8 <u8 ?".split()]
NOT_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")


class Refused(Exception):
    """The stream cannot be read; the text is the verdict."""


def require(condition, verdict="invalid"):
    if not condition:
        raise Refused(verdict)


class Fields:
    """Reads the notation of FORMAT.md from a part of a stream."""

    def __init__(self, stream, at, end):
        self.stream, self.at, self.end = stream, at, end

    def take(self, length):
        require(length <= self.end - self.at)
        self.at += length
        return self.stream[self.at - length : self.at]

    def u8(self):
        return self.take(1)[0]

    def bool(self):
        byte = self.u8()
        require(byte <= 1)
        return byte

    def varint(self):
        value = 0
        for shift in range(0, 35, 7):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        require(byte < 0x80 and value < 1 << 32)
        return value

    def bytes(self):
        return self.take(self.varint())

    def option(self, read):
        return read() if self.bool() else None

    def list(self, read):
        return [read() for _ in range(self.varint())]

    def name(self, least=1):
        raw = self.bytes()
        require(least <= len(raw) <= 255)
        try:
            require(not NOT_IN_NAMES.search(raw.decode("utf-8")))
        except UnicodeDecodeError:
            raise Refused("invalid") from None
        return raw

    def f32_bits(self):
        (bits,) = struct.unpack("<I", self.take(4))
        require(not math.isnan(struct.unpack("<f", struct.pack("<I", bits))[0]))
        return f"{bits:08x}"


def is_unique(names):
    return len(set(names)) == len(names)


def text(value):
    return "-" if value is None else value.hex() if isinstance(value, bytes) else str(value)


class Stream(Fields):
    """A checkpoint. `words` is its content in the order of the stream, and `arrays` contains its tensors."""

    def __init__(self, stream):
        super().__init__(stream, 0, len(stream))
        self.words, self.arrays, self.names_valid = [], {}, True
        require(self.take(4) == b"TMCK")
        require(self.u8() == 2, "unsupported version")
        (length,) = struct.unpack("<I", self.take(4))
        require(9 + 4 <= length <= len(stream))
        self.end = length - 4
        require(struct.pack("<I", crc32(stream[: self.end])) == stream[self.end : length])
        for field in ("step", "sequence", "iteration"):
            self.put(field, self.varint())
        self.put("score", self.option(self.f32_bits))
        self.put("score_name", self.option(self.name))
        self.object_names = self.list(self.name)
        self.put("object_names", ",".join(map(text, self.object_names)))
        self.read_extensions()
        if self.bool():
            self.read_run()
        else:
            self.put("run", None)
        count = self.varint()
        require(count == 1 if self.object_names else count > 0)
        objects = [self.read_object() for _ in range(count)]
        require(self.at == self.end)
        # The rules of several names, and the end of the file.
        require(self.names_valid and is_unique(objects) and is_unique(self.object_names))
        require(not self.object_names or objects[0] in self.object_names)
        require(length == len(stream))

    def put(self, field, *values):
        self.words.append(f"{field}={','.join(map(text, values))}")

    def read_extensions(self):
        identity, writer, last_id = [0, b"", 0, 0, 0], b"", 0
        for _ in range(self.varint()):
            id = self.varint()
            require(id > last_id)
            last_id = id
            required = self.bool()
            require(id <= 3 or not required, "newer")
            length = self.varint()
            self.take(length)
            data = Fields(self.stream, self.at - length, self.at)
            if id == 1:
                identity = [data.varint(), data.name(0), data.u8()]
                require(identity[2] <= 1, "newer")
                identity += [data.varint(), data.varint()]
            elif id == 2:
                last = b""
                for _ in range(data.varint()):
                    name = data.name()
                    require(name > last)
                    last = name
                    self.words.append(f"metadata={name.hex()}:{data.bytes().hex()}")
            elif id == 3:
                writer = data.name(0)
            require(id > 3 or data.at == data.end)
        for field, value in zip(("run_number", "series", "rule", "model", "save_id"), identity):
            self.put(field, value)
        self.put("writer", writer)

    def read_run(self):
        phase = self.varint()
        require(phase <= 10, "newer")
        numbers = [self.varint() for _ in range(5)]  # epoch, iteration, offset, data_offset, epoch_length
        max_epochs = self.option(self.varint)
        stop = self.option(self.varint)
        require(stop is None or stop <= 10, "newer")
        if stop == 5:
            stop = f"5:{self.u8()}"
        self.put("run", phase, *numbers, max_epochs, stop, self.bool())
        count = self.u8()
        require(count <= 32)
        for _ in range(count):
            kind, tag, length = struct.unpack("<BHB", self.take(4))
            require(length <= 127)
            self.put("handler", kind, tag, self.take(length))

    def read_object(self):
        name = self.name()
        self.arrays[name], names = {}, []
        self.put("object", name)
        kind = self.u8()
        require(kind <= 1)
        if kind == 1:
            value = self.bytes()
            self.put("value", len(value), f"{crc32(value):08x}")
            return name
        for _ in range(self.varint()):
            names.append(self.name())
            code = self.u8()
            require(code <= BOOL, "newer")
            rank = self.varint()
            require(rank <= 6)
            shape = [self.varint() for _ in range(rank)]
            size = TYPES[code].itemsize
            pad = self.u8()
            require(pad < size and not any(self.take(pad)))
            data = self.bytes()
            require((self.at - len(data)) % size == 0 and len(data) == math.prod(shape) * size)
            require(code != BOOL or not (np.frombuffer(data, np.uint8) > 1).any())
            flat = np.frombuffer(data, TYPES[code])
            # numpy refuses some shapes without elements.
            self.arrays[name][names[-1]] = flat.reshape(shape) if 0 not in shape else flat
            self.put("tensor", names[-1], code, "x".join(map(str, shape)), f"{crc32(data):08x}")
        self.names_valid &= is_unique(names)
        return name


def verdict(stream):
    try:
        return "valid " + " ".join(Stream(stream).words)
    except Refused as refused:
        return str(refused)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            print(verdict(file.read()))
    while len(sys.argv) == 1 and (prefix := sys.stdin.buffer.read(4)):
        print(verdict(sys.stdin.buffer.read(struct.unpack("<I", prefix)[0])))
