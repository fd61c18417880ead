"""The device's answers, frame by frame."""

import os
import select
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from stream_device import Device, build_device, expected_output

from edgeq.stream.framing import Frame, FrameDecoder, encode_frame

TEXTS = {
    1: "a frame came altered",
    2: "this device talks protocol version 1",
    3: "this message type is unknown",
    4: "the payload has the wrong length",
    5: "INPUT reaches behind the model's inputs",
    6: "the inputs are not those of RUN",
    7: "this firmware has no samples of its own",
}


@pytest.fixture
def port(tmp_path: Path) -> Path:
    return tmp_path / "port"


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory, port: Path) -> Iterator[Device]:
    device = Device(build_device(tmp_path_factory.getbasetemp()), port)
    yield device
    device.close()


class RawLine:
    """Frames to and from a device, with nothing between."""

    def __init__(self, port: Path) -> None:
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []

    def ask(self, kind: int, payload: bytes = b"", version: int = 1) -> tuple[int, bytes]:
        self.send(kind, payload, version)
        return self.take()

    def send(self, kind: int, payload: bytes, version: int = 1) -> None:
        self.send_bytes(encode_frame(Frame(kind, 0, payload, version)))

    def send_bytes(self, data: bytes) -> None:
        os.write(self._fd, data)

    def take(self) -> tuple[int, bytes]:
        while True:
            while not self._frames:
                assert select.select([self._fd], [], [], 10.0)[0], "the device is silent"
                self._frames = self._decoder.feed(os.read(self._fd, 4096))
            frame = self._frames.pop(0)
            if frame.type != 0x84:
                return frame.type, frame.payload

    def run(self, run_id: int, crc32: int) -> tuple[bytes, bytes]:
        """The ticks and the whole output, or "error" and the error's code."""
        request = run_id.to_bytes(4, "little") + crc32.to_bytes(4, "little")
        kind, payload = self.ask(0x03, request)
        if kind == 0x85:
            return b"error", payload[:1]
        _, rest = self.take()  # the second output
        assert payload[:16] == rest[:16]
        return payload[4:12], payload[20:] + rest[20:]

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def raw(device: Device, port: Path) -> Iterator[RawLine]:
    raw = RawLine(port)
    yield raw
    raw.close()


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (0x06, b"", 3),
        (0x00, b"x", 3),
        (0x01, b"x", 4),
        (0x05, bytes(4), 4),
        (0x02, bytes(4), 4),
        (0x02, b"", 4),
        (0x02, (31).to_bytes(4, "little") + b"xx", 5),
        (0x02, (33).to_bytes(4, "little") + b"x", 5),
        (0x02, b"\xff\xff\xff\xff" + b"xx", 5),
        (0x02, b"\xfe\xff\xff\xff" + b"xxx", 5),
        (0x03, bytes(7), 4),
        (0x03, bytes(9), 4),
        (0x03, bytes(8), 6),
        (0x04, bytes(7), 4),
    ],
)
def test_the_device_refuses_malformed_requests(
    raw: RawLine, kind: int, payload: bytes, code: int
) -> None:
    answer, text = raw.ask(kind, payload)
    assert (answer, text[0]) == (0x85, code)
    assert text[1:].decode() == TEXTS[code]
    assert raw.ask(0x01)[0] == 0x81


def test_the_device_tells_a_host_of_another_version(raw: RawLine) -> None:
    assert raw.ask(0x01, version=2) == (0x85, b"\2" + TEXTS[2].encode())


def test_a_frame_that_came_altered_is_told(raw: RawLine) -> None:
    altered = bytearray(encode_frame(Frame(0x02, 0, bytes(range(1, 9)))))
    altered[-4] ^= 1
    raw.send_bytes(bytes(altered))
    assert raw.take() == (0x85, b"\1" + TEXTS[1].encode())


def test_an_application_without_samples_refuses_a_stream(
    tmp_path_factory: pytest.TempPathFactory, port: Path
) -> None:
    device = Device(build_device(tmp_path_factory.getbasetemp(), app="serial"), port)
    raw = RawLine(port)
    assert raw.ask(0x04, bytes(7))[1][0] == 4
    assert raw.ask(0x04, bytes(8)) == (0x85, b"\7" + TEXTS[7].encode())
    raw.close()
    device.close()


def test_the_device_does_not_answer_its_own_frames(raw: RawLine) -> None:
    for kind in (0x81, 0x85, 0xFF):
        raw.send(kind, b"\1text")
    assert raw.ask(0x05) == (0x82, b"\5\0\0\0\0")


def test_a_run_asked_for_again_is_answered_from_the_same_execution(raw: RawLine) -> None:
    inputs = bytes(range(32))
    crc32, refused = zlib.crc32(inputs), (b"error", b"\6")
    raw.ask(0x02, bytes(4) + inputs)
    first = raw.run(77, crc32)
    assert first[1] == expected_output(inputs)
    assert raw.run(77, crc32) == first
    assert raw.run(78, crc32) == refused, "the run has overwritten its inputs"
    assert raw.run(77, crc32 ^ 1) == refused
    assert raw.run(77, crc32) == first, "a refused run leaves the result as it was"
    raw.ask(0x02, bytes(4) + inputs[:1])
    assert raw.run(77, crc32) == refused, "the outputs are no longer whole"
    raw.ask(0x02, bytes(4) + inputs)
    assert raw.run(77, crc32)[1] == first[1]
