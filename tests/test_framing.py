import ctypes
import subprocess
import zlib
from pathlib import Path

import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_device import DEVICE, RUNTIME, WARNINGS, host_compiler

from edgeq.stream.framing import MAX_PAYLOAD, Frame, FrameDecoder, encode_frame

MAX_BYTES = 4 + MAX_PAYLOAD + 4
PENDING, GOOD, BAD = range(3)

# Long runs without a zero, around COBS's 254, are as likely as short payloads.
payloads = st.one_of(
    st.binary(max_size=MAX_PAYLOAD),
    st.lists(st.sampled_from([b"\0", b"\1", b"\xff", b"a" * 127, b"b" * 244]), max_size=9)
    .map(b"".join)
    .map(lambda data: data[:MAX_PAYLOAD]),
)
frames = st.builds(
    Frame, st.integers(0, 255), st.integers(0, 65535), payloads, st.integers(0, 255)
)
own_frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 65535), payloads)


class Receiver(ctypes.Structure):
    _fields_ = [
        ("nbytes", ctypes.c_uint16),
        ("frame_nbytes", ctypes.c_uint16),
        ("block_left", ctypes.c_uint8),
        ("block_ends_zero", ctypes.c_bool),
        ("words", ctypes.c_uint32 * (MAX_BYTES // 4)),
    ]


class CFraming:
    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.shim_send.restype = ctypes.c_size_t
        self._library.shim_sent.restype = ctypes.POINTER(ctypes.c_uint8)
        self._library.edgeq_crc32.restype = ctypes.c_uint32

    def encode(self, frame: Frame, head_nbytes: int) -> bytes:
        head, body = frame.payload[:head_nbytes], frame.payload[head_nbytes:]
        send = self._library.shim_send
        length = send(
            ctypes.c_uint8(frame.type),
            ctypes.c_uint16(frame.sequence),
            head,
            ctypes.c_size_t(len(head)),
            body,
            ctypes.c_size_t(len(body)),
        )
        return bytes(self._library.shim_sent()[:length])

    def decode(self, data: bytes) -> tuple[list[Frame], int]:
        """The frames found, and how many were bad."""
        receiver = Receiver()
        found, bad = [], 0
        for byte in data:
            event = self._library.edgeq_frame_receive(
                ctypes.byref(receiver), ctypes.c_uint8(byte)
            )
            bad += event == BAD
            if event == GOOD:
                raw = bytes(receiver.words)[: receiver.frame_nbytes - 4]
                found.append(Frame(raw[1], raw[2] | raw[3] << 8, raw[4:], raw[0]))
        return found, bad

    def crc32(self, crc: int, data: bytes) -> int:
        value: int = self._library.edgeq_crc32(
            ctypes.c_uint32(crc), data, ctypes.c_size_t(len(data))
        )
        return value


@pytest.fixture(scope="session")
def c_framing(tmp_path_factory: pytest.TempPathFactory) -> CFraming:
    library = tmp_path_factory.mktemp("framing") / "framing.so"
    command = [*host_compiler(is_library=True), *WARNINGS, "-O1", "-shared", "-fPIC"]
    sources = [str(RUNTIME / "edgeq_framing.c"), str(DEVICE / "framing_shim.c")]
    command += [f"-I{RUNTIME}", *sources, "-o", str(library)]
    subprocess.run(command, check=True)
    return CFraming(library)


def decode(data: bytes) -> tuple[list[Frame], int]:
    decoder = FrameDecoder()
    found = decoder.feed(data)
    return found, decoder.bad.total()


@given(st.lists(frames, max_size=4))
def test_frames_come_back_as_they_were_sent(sent: list[Frame]) -> None:
    assert decode(b"".join(map(encode_frame, sent))) == (sent, 0)


@given(own_frames, st.integers(0, MAX_PAYLOAD))
def test_c_and_python_encode_to_the_same_bytes(
    c_framing: CFraming, frame: Frame, head_nbytes: int
) -> None:
    assert c_framing.encode(frame, head_nbytes) == encode_frame(frame)


@given(st.lists(frames, max_size=3))
def test_c_decodes_what_python_encodes(c_framing: CFraming, sent: list[Frame]) -> None:
    assert c_framing.decode(b"".join(map(encode_frame, sent))) == (sent, 0)


@given(st.lists(st.sampled_from([0, 0, 1, 2, 3, 254, 255]), max_size=700).map(bytes))
def test_c_and_python_drop_the_same_garbage(c_framing: CFraming, data: bytes) -> None:
    assert c_framing.decode(data) == decode(data)


@pytest.mark.parametrize("nbytes", [255, 256, 257, 258, 300, 5000])
@pytest.mark.parametrize("fill", [b"\0", b"x"])
def test_c_and_python_agree_where_a_frame_becomes_overlong(
    c_framing: CFraming, nbytes: int, fill: bytes
) -> None:
    raw = b"\1\2\3\4" + fill * nbytes
    encoded = cobs.encode(raw + zlib.crc32(raw).to_bytes(4, "little"))
    after = Frame(7, 8, b"next")
    data = encoded + encode_frame(after)
    found, bad = decode(data)
    assert c_framing.decode(data) == (found, bad)
    assert found[-1] == after
    assert (len(found), bad) == ((2, 0) if nbytes <= MAX_PAYLOAD else (1, 1))


def test_bytes_behind_the_longest_frame_spoil_it(c_framing: CFraming) -> None:
    longest = cobs.decode(encode_frame(Frame(1, 2, b"x" * MAX_PAYLOAD)).strip(b"\0"))
    data = cobs.encode(longest + b"more") + b"\0"
    assert c_framing.decode(data) == decode(data) == ([], 1)


@given(frames, st.data())
def test_an_altered_frame_is_never_accepted_as_another(
    c_framing: CFraming, frame: Frame, data: st.DataObject
) -> None:
    altered = bytearray(encode_frame(frame))
    for _ in range(data.draw(st.integers(1, 4), label="alterations")):
        at = data.draw(st.integers(0, len(altered) - 1), label="at")
        kind = data.draw(st.sampled_from(["flip", "drop", "insert"]), label="kind")
        if kind == "flip":
            altered[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
        elif kind == "drop":
            del altered[at]
        else:
            altered.insert(at, data.draw(st.integers(0, 255), label="byte"))
    after = Frame(1, 2, b"after")
    stream = bytes(altered) + encode_frame(after)
    found, bad = decode(stream)
    assert c_framing.decode(stream) == (found, bad)
    # Alterations may undo each other or spare the frame, but the next frame always comes.
    assert found in ([after], [frame, after])


@given(st.binary(max_size=600), frames)
def test_a_frame_after_garbage_is_found(garbage: bytes, frame: Frame) -> None:
    assert decode(garbage + encode_frame(frame))[0][-1] == frame


@settings(max_examples=50)
@given(st.lists(st.one_of(frames.map(encode_frame), st.binary(max_size=400)), max_size=4))
def test_one_byte_at_a_time_gives_the_same_as_all_at_once(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    decoder = FrameDecoder()
    found = [frame for i in range(len(data)) for frame in decoder.feed(data[i : i + 1])]
    assert (found, decoder.bad.total()) == decode(data)


def test_reasons_of_dropped_frames_are_counted() -> None:
    decoder = FrameDecoder()
    good = encode_frame(Frame(1, 1, b"payload")).strip(b"\0")
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    decoder.feed(b"\0".join([b"\x09abc", b"\x03ab", flipped, b"z" * 400, b""]))
    assert decoder.bad == {"cobs": 1, "short": 1, "checksum": 1, "overlong": 1}


def test_reset_forgets_a_frame_that_has_begun() -> None:
    decoder = FrameDecoder()
    frame = Frame(1, 1, b"payload")
    decoder.feed(encode_frame(frame)[:5])
    decoder.reset()
    assert decoder.feed(encode_frame(frame)[1:]) == [frame]


def test_a_payload_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="257 bytes"):
        encode_frame(Frame(1, 1, bytes(257)))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_crc32_in_c_is_that_of_zlib(c_framing: CFraming, a: bytes, b: bytes) -> None:
    assert c_framing.crc32(c_framing.crc32(0, a), b) == zlib.crc32(a + b)
