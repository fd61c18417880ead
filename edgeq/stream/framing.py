"""Frames on the serial line, without I/O; twin of firmware_gen/runtime/edgeq_framing.c.

On the wire: COBS(version u8, type u8, sequence u16, payload, crc32 u32), then one 0x00; a 0x00
before a frame ends whatever came before. COBS: Cheshire and Baker, "Consistent overhead byte
stuffing", IEEE/ACM Transactions on Networking 7(2), 1999. The CRC-32 is that of IEEE 802.3
over header and payload. Integers are little endian.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import dataclass

from cobs import cobs

PROTOCOL_VERSION = 1
MAX_PAYLOAD = 256  # bytes, each way
_HEADER = struct.Struct("<BBH")
_CRC = struct.Struct("<I")
_MAX_RAW = _HEADER.size + MAX_PAYLOAD + _CRC.size
MAX_ENCODED = _MAX_RAW + _MAX_RAW // 254 + 1  # bytes of a frame on the wire, without delimiters


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `sequence` counts the frames that its sender has sent, modulo 65536."""

    type: int
    sequence: int
    payload: bytes
    version: int = PROTOCOL_VERSION


def encode_frame(frame: Frame) -> bytes:
    """The bytes of a frame on the wire, with the delimiters before and behind it.

    Raises:
        ValueError: the payload is longer than MAX_PAYLOAD.
    """
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"payload has {len(frame.payload)} bytes, must be <= {MAX_PAYLOAD}")
    raw = _HEADER.pack(frame.version, frame.type, frame.sequence) + frame.payload
    encoded: bytes = cobs.encode(raw + _CRC.pack(zlib.crc32(raw)))
    return b"\0" + encoded + b"\0"


class FrameDecoder:
    """Finds the frames in a stream of bytes, however it is cut; garbage costs no later frame.

    `bad` counts by reason what was dropped: "cobs" (broken stuffing), "short", "overlong",
    "checksum". A frame of another protocol version is returned, not dropped.
    """

    def __init__(self) -> None:
        self.bad: Counter[str] = Counter()
        self._encoded = bytearray()  # since the last delimiter
        self._overlong = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in `data`, in order."""
        frames = []
        *ended, rest = data.split(b"\0")
        for piece in ended:
            self._append(piece)
            frame = self._end()
            if frame is not None:
                frames.append(frame)
        self._append(rest)
        return frames

    def reset(self) -> None:
        """Forget a frame that has begun, as the line was cut."""
        self._encoded.clear()
        self._overlong = False

    def _append(self, piece: bytes) -> None:
        if len(self._encoded) + len(piece) > MAX_ENCODED:
            self._overlong = True
        if not self._overlong:
            self._encoded += piece

    def _end(self) -> Frame | None:
        encoded, overlong = bytes(self._encoded), self._overlong
        self.reset()
        if not encoded and not overlong:
            return None
        frame = "overlong" if overlong else _frame_in(encoded)
        if isinstance(frame, str):
            self.bad[frame] += 1
            return None
        return frame


def _frame_in(encoded: bytes) -> Frame | str:
    """The frame between two delimiters, or the reason why there is none."""
    try:
        raw: bytes = cobs.decode(encoded)
    except cobs.DecodeError:
        return "cobs"
    if len(raw) < _HEADER.size + _CRC.size:
        return "short"
    if len(raw) > _MAX_RAW:
        return "overlong"
    checked, (crc,) = raw[: -_CRC.size], _CRC.unpack(raw[-_CRC.size :])
    if zlib.crc32(checked) != crc:
        return "checksum"
    version, kind, sequence = _HEADER.unpack_from(checked)
    return Frame(kind, sequence, checked[_HEADER.size :], version)
