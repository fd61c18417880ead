"""The messages of protocol version 1, between the host and a device that runs one model.

Host to device: Hello, Input, Run, Stream, Stop, Profile. Device to host: Identity, Ack,
ResultPiece, Log, DeviceError, CyclesPiece. What the device does with each:
firmware_gen/runtime/edgeq_serial.h.
All integers are little endian; `inputs` and `outputs` are all tensors one behind the other.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import ClassVar, TypeAlias

from edgeq.errors import LinkError

INPUT_OVERHEAD = 4  # bytes of an Input's payload that are not data
MIN_MAX_PAYLOAD = 32  # what a device must at least take


class MessageError(LinkError):
    """A frame arrived intact, but its payload is not that of a message; names both."""


class ErrorCode(enum.IntEnum):
    """Why a device refuses a request."""

    FRAME = 1  # a frame arrived altered
    VERSION = 2
    TYPE = 3
    PAYLOAD = 4
    RANGE = 5  # an Input reaches behind the inputs
    INPUT = 6  # the inputs' CRC-32 is not that of Run
    SAMPLES = 7  # a Stream, but the firmware has no samples
    FAULT = 8  # the program has stopped
    CYCLES = 9  # a Profile, but no counter counts, or nothing has run


@dataclass(frozen=True, slots=True)
class Hello:
    """Asks for Identity; ends a stream."""

    TYPE: ClassVar[int] = 0x01


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for the inputs from `offset` on; the answer is Ack(offset + len(data))."""

    TYPE: ClassVar[int] = 0x02
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Runs the model on the inputs if they have this CRC-32; the answer is ResultPieces."""

    TYPE: ClassVar[int] = 0x03
    run_id: int
    input_crc32: int


@dataclass(frozen=True, slots=True)
class Stream:
    """Runs the firmware's own samples from number `first` on; Ack(first), then ResultPieces."""

    TYPE: ClassVar[int] = 0x04
    count: int  # 0: for ever
    first: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Ends a stream; the answer is Ack."""

    TYPE: ClassVar[int] = 0x05


@dataclass(frozen=True, slots=True)
class Profile:
    """Asks for cycles of layers from number `first` on, in the Run just done: a CyclesPiece.

    Firmware that is not built to measure knows no such type.
    """

    TYPE: ClassVar[int] = 0x06
    first: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device is: its model, its board, its sizes in bytes, its tick rate."""

    TYPE: ClassVar[int] = 0x81
    max_payload: int
    input_nbytes: int
    output_nbytes: int
    arena_nbytes: int
    ticks_hz: int
    samples: int  # that the firmware supplies itself; 0: none
    digest: bytes  # (16,) of the model
    model: str
    board: str
    firmware: str  # version of the firmware's runtime


@dataclass(frozen=True, slots=True)
class Ack:
    """A request of type `of` has been carried out."""

    TYPE: ClassVar[int] = 0x82
    of: int
    value: int


@dataclass(frozen=True, slots=True)
class ResultPiece:
    """Part of a run's outputs; pieces of one run come in ascending order, nothing between."""

    TYPE: ClassVar[int] = 0x83
    run_id: int  # the sample's number in a stream
    ticks: int  # that the run took
    output_nbytes: int  # of all pieces together
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A text for the user."""

    TYPE: ClassVar[int] = 0x84
    level: int  # 0 debug, 1 info, 2 warning, 3 error
    text: str


@dataclass(frozen=True, slots=True)
class DeviceError:
    """A request is refused; `code` is one of ErrorCode, or unknown to this version."""

    TYPE: ClassVar[int] = 0x85
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class CyclesPiece:
    """Cycles of layers, in the order of their calls, from number `first` on."""

    TYPE: ClassVar[int] = 0x86
    is_real: bool  # counted by a core, not by an emulator
    layers: int  # in all
    first: int
    cycles: tuple[int, ...]


Request: TypeAlias = Hello | Input | Run | Stream | Stop | Profile
Answer: TypeAlias = Identity | Ack | ResultPiece | Log | DeviceError | CyclesPiece
Message: TypeAlias = Request | Answer

_NOTHING = struct.Struct("<")
_INPUT = struct.Struct("<I")
_TWO_WORDS = struct.Struct("<II")  # Run, Stream
_IDENTITY = struct.Struct("<HIIIII16s")
_ACK = struct.Struct("<BI")
_RESULT = struct.Struct("<IQII")
_WORD = struct.Struct("<I")  # Profile
_CYCLES = struct.Struct("<BII")
_TEXT = struct.Struct("<B")  # Log, DeviceError


def encode_message(message: Message) -> bytes:
    """The payload of a message; its frame's type is `message.TYPE`.

    Raises:
        ValueError: a field does not fit its place.
    """
    try:
        match message:
            case Hello() | Stop():
                return b""
            case Input(offset, data):
                return _INPUT.pack(offset) + data
            case Run() | Stream():
                return _TWO_WORDS.pack(*astuple(message))
            case Profile(first):
                return _WORD.pack(first)
            case CyclesPiece(is_real, layers, first, cycles):
                words = struct.pack(f"<{len(cycles)}I", *cycles)
                return _CYCLES.pack(is_real, layers, first) + words
            case Identity():
                *numbers, model, board, firmware = astuple(message)
                names = (name.encode() for name in (model, board, firmware))
                return _IDENTITY.pack(*numbers) + b"".join(name + b"\0" for name in names)
            case Ack(of, value):
                return _ACK.pack(of, value)
            case ResultPiece(run_id, ticks, output_nbytes, offset, data):
                return _RESULT.pack(run_id, ticks, output_nbytes, offset) + data
            case Log(first, text) | DeviceError(first, text):
                return _TEXT.pack(first) + text.encode()
    except struct.error as error:
        raise ValueError(f"{message}: {error}") from error


def decode_message(kind: int, payload: bytes) -> Message:
    """The message in a frame of type `kind`.

    Raises:
        MessageError: unknown type, payload too short or too long, or not UTF-8.
    """
    if kind not in _DECODERS:
        raise MessageError(f"message type 0x{kind:02x}: unknown to protocol version 1")
    head, has_rest, build = _DECODERS[kind]
    name = build.__name__.strip("_")
    if len(payload) < head.size or (len(payload) > head.size and not has_rest):
        bound = "at least " if has_rest else ""
        raise MessageError(f"{name}: has {len(payload)} bytes, must have {bound}{head.size}")
    try:
        return build(*head.unpack_from(payload), *([payload[head.size :]] if has_rest else []))
    except UnicodeDecodeError as error:
        raise MessageError(f"{name}: its text is not UTF-8: {error}") from error


def _identity(
    max_payload: int,
    input_nbytes: int,
    output_nbytes: int,
    arena_nbytes: int,
    ticks_hz: int,
    samples: int,
    digest: bytes,
    texts: bytes,
) -> Identity:
    if max_payload < MIN_MAX_PAYLOAD:
        raise MessageError(
            f"Identity: maximum payload is {max_payload}, must be >= {MIN_MAX_PAYLOAD}"
        )
    if ticks_hz == 0:
        raise MessageError("Identity: the tick rate is 0 Hz, must be > 0")
    if texts.count(b"\0") != 3 or not texts.endswith(b"\0"):
        raise MessageError("Identity: must end in three texts, each closed by a zero byte")
    model, board, firmware, _ = texts.decode().split("\0")
    return Identity(
        max_payload,
        input_nbytes,
        output_nbytes,
        arena_nbytes,
        ticks_hz,
        samples,
        digest,
        model,
        board,
        firmware,
    )


def _result_piece(
    run_id: int, ticks: int, output_nbytes: int, offset: int, data: bytes
) -> ResultPiece:
    if not data or offset + len(data) > output_nbytes:
        raise MessageError(
            f"ResultPiece: holds bytes {offset} to {offset + len(data)} of {output_nbytes}"
        )
    return ResultPiece(run_id, ticks, output_nbytes, offset, data)


def _cycles(is_real: int, layers: int, first: int, data: bytes) -> CyclesPiece:
    count, rest = divmod(len(data), 4)
    if rest or not count or first + count > layers or is_real > 1:
        raise MessageError(
            f"CyclesPiece: holds {len(data)} bytes of cycles from layer {first} of {layers} on"
        )
    return CyclesPiece(bool(is_real), layers, first, struct.unpack(f"<{count}I", data))


def _log(level: int, text: bytes) -> Log:
    return Log(level, text.decode())


def _device_error(code: int, text: bytes) -> DeviceError:
    return DeviceError(code, text.decode())


# By type: the fixed head, whether bytes of any number follow, and what builds the message.
_DECODERS: MappingProxyType[int, tuple[struct.Struct, bool, Callable[..., Message]]] = (
    MappingProxyType(
        {
            Hello.TYPE: (_NOTHING, False, Hello),
            Input.TYPE: (_INPUT, True, Input),
            Run.TYPE: (_TWO_WORDS, False, Run),
            Stream.TYPE: (_TWO_WORDS, False, Stream),
            Stop.TYPE: (_NOTHING, False, Stop),
            Profile.TYPE: (_WORD, False, Profile),
            CyclesPiece.TYPE: (_CYCLES, True, _cycles),
            Identity.TYPE: (_IDENTITY, True, _identity),
            Ack.TYPE: (_ACK, False, Ack),
            ResultPiece.TYPE: (_RESULT, True, _result_piece),
            Log.TYPE: (_TEXT, True, _log),
            DeviceError.TYPE: (_TEXT, True, _device_error),
        }
    )
)
