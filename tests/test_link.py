import itertools
import os
import pty
import random
import select
import threading
import tty
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from stream_device import (
    DIGEST,
    SAMPLES,
    Device,
    NoisyLine,
    TcpDevice,
    build_device,
    expected_output,
    sample_inputs,
)

from edgeq.errors import DataError, LinkError
from edgeq.stream import Link, Result, open_link
from edgeq.stream.framing import Frame, FrameDecoder, encode_frame
from edgeq.stream.protocol import Hello


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("devices")


@pytest.fixture
def port(tmp_path: Path) -> Path:
    return tmp_path / "port"


@pytest.fixture
def device(folder: Path, port: Path) -> Iterator[Device]:
    device = Device(build_device(folder), port)
    yield device
    device.close()


class SilentPort:
    """A port whose other end the test holds."""

    def __init__(self, port: Path) -> None:
        self.other_end, self._slave = pty.openpty()
        tty.setraw(self._slave)
        port.symlink_to(os.ttyname(self._slave))
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, *answers: bytes) -> None:
        """Answer what comes with these bytes, in turn."""
        answer_in_turn = itertools.cycle(answers)
        os.set_blocking(self.other_end, False)

        def answer() -> None:
            while not self._ended.wait(0.01):
                try:
                    os.read(self.other_end, 4096)
                    os.write(self.other_end, next(answer_in_turn))
                except BlockingIOError:
                    continue

        self._thread = threading.Thread(target=answer, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        os.close(self.other_end)
        os.close(self._slave)


@pytest.fixture
def silent(port: Path) -> Iterator[SilentPort]:
    silent = SilentPort(port)
    yield silent
    silent.close()


def quick_link(port: Path, timeout_s: float = 5.0, reconnect_s: float = 10.0) -> Link:
    return open_link(str(port), timeout_s=timeout_s, retry_s=0.03, reconnect_s=reconnect_s)


def check_stream(results: list[Result], first: int = 0, nbytes: int = 32) -> None:
    assert [result.run_id for result in results] == list(range(first, first + len(results)))
    outputs = [expected_output(sample_inputs(i, nbytes)) for i in range(SAMPLES)]
    for result in results:
        assert result.output == outputs[result.run_id % SAMPLES]


def check_inferences(link: Link, count: int, seed: int = 0) -> None:
    generator = random.Random(seed)
    for _ in range(count):
        inputs = generator.randbytes(link.identity.input_nbytes)
        assert link.infer(inputs).output == expected_output(inputs)


def test_a_device_says_what_it_is(device: Device, port: Path) -> None:
    with open_link(str(port)) as link:
        identity = link.identity
        link.expect_digest(DIGEST, "mixer")
    assert (identity.model, identity.board, identity.firmware) == ("mixer", "host", "1")
    assert (identity.input_nbytes, identity.output_nbytes) == (32, 35)
    assert (identity.arena_nbytes, identity.ticks_hz) == (35, 1_000_000)
    assert (identity.samples, identity.max_payload) == (SAMPLES, 256)
    assert identity.digest == DIGEST


def test_ten_thousand_results_are_streamed_and_none_is_lost_or_altered(
    device: Device, port: Path
) -> None:
    with open_link(str(port)) as link:
        results = list(link.stream(10_000))
        statistics = link.statistics
    assert len(results) == 10_000
    check_stream(results)
    assert (statistics.frames_lost, statistics.bad_frames.total()) == (0, 0)
    assert statistics.reconnects == 0


def test_inputs_are_sent_and_run(device: Device, port: Path) -> None:
    with open_link(str(port)) as link:
        check_inferences(link, 200)
        tensors = [bytes(range(20)), bytes(range(100, 112))]
        result = link.infer(tensors)
    assert result.output == expected_output(b"".join(tensors))
    assert result.run_id == 200


def test_tensors_longer_than_a_frame_go_in_pieces(folder: Path, port: Path) -> None:
    device = Device(build_device(folder, "INPUT_0=1500"), port)
    with open_link(str(port)) as link:
        check_inferences(link, 20)
        check_stream(list(link.stream(20, first=3)), first=3, nbytes=1512)
    device.close()


@pytest.mark.parametrize(
    ("rate", "seed", "count"), [(0.0005, 1, 1500), (0.003, 2, 500), (0.01, 3, 100)]
)
def test_a_noisy_line_never_gives_a_wrong_result(
    folder: Path, port: Path, rate: float, seed: int, count: int
) -> None:
    line = NoisyLine(build_device(folder), port, rate=rate, seed=seed)
    with quick_link(port, timeout_s=20.0) as link:
        check_inferences(link, 20, seed)
        results = list(link.stream(count))
        check_inferences(link, 5, seed)
        statistics = link.statistics
    line.close()
    assert len(results) == count
    check_stream(results)
    assert line.altered > 20
    assert statistics.retries > 0
    assert statistics.bad_frames.total() > 0
    assert statistics.frames_lost > 0


def test_a_noisy_line_gives_long_tensors_right(folder: Path, port: Path) -> None:
    line = NoisyLine(build_device(folder, "INPUT_0=1500"), port, rate=0.0003, seed=4)
    with quick_link(port, timeout_s=20.0) as link:
        check_inferences(link, 15)
        check_stream(list(link.stream(60)), nbytes=1512)
        assert link.statistics.retries > 0
    line.close()


def test_a_stream_goes_on_where_it_was_after_a_disconnection(folder: Path, port: Path) -> None:
    program = build_device(folder)
    device = Device(program, port)
    replugged: list[Device] = []

    def plug_in() -> None:
        replugged.append(Device(program, port))

    results = []
    with quick_link(port) as link:
        for result in link.stream(600):
            results.append(result)
            if result.run_id in (100, 400):
                device.unplug()
                timer = threading.Timer(0.2, plug_in)
                timer.start()
                if result.run_id == 400:
                    timer.join()  # back before the host sees that it went
            if result.run_id in (300, 500):
                timer.join()
                device = replugged.pop()
        assert link.statistics.reconnects == 2
    device.close()
    assert len(results) == 600
    check_stream(results)


def test_an_inference_survives_a_disconnection(folder: Path, port: Path) -> None:
    program = build_device(folder)
    device = Device(program, port)
    with quick_link(port) as link:
        check_inferences(link, 3)
        device.unplug()
        device = Device(program, port)
        check_inferences(link, 3)
        assert link.statistics.reconnects == 1
    device.close()


def test_a_tcp_port_takes_the_place_of_a_serial_port(folder: Path) -> None:
    device = TcpDevice(build_device(folder))
    try:
        with open_link(device.port, retry_s=0.03) as link:
            check_inferences(link, 20)
            device.disconnect()
            check_inferences(link, 20)
            assert link.statistics.reconnects == 1
            check_stream(list(link.stream(500)))
    finally:
        device.close()


def test_a_reconnected_device_with_another_model_is_refused(folder: Path, port: Path) -> None:
    device = Device(build_device(folder), port)
    with quick_link(port) as link:
        check_inferences(link, 1)
        device.unplug()
        device = Device(build_device(folder, "DIGEST_LAST=0xff"), port)
        with pytest.raises(LinkError) as error:
            link.infer(bytes(32))
    device.close()
    other = DIGEST[:-1] + b"\xff"
    for text in (str(port), "'mixer'", DIGEST.hex(), other.hex()):
        assert text in str(error.value)


def test_a_port_that_stays_away_is_an_error(folder: Path, port: Path) -> None:
    device = Device(build_device(folder), port)
    with quick_link(port, reconnect_s=0.3) as link:
        device.unplug()
        with pytest.raises(
            LinkError, match=r"disconnected .* not back within 0.3 s.*no such port"
        ):
            link.infer(bytes(32))


def test_a_device_that_restarts_with_the_port_open_is_identified_again(
    folder: Path, port: Path
) -> None:
    program = build_device(folder)
    line = NoisyLine(program, port)
    with quick_link(port) as link:
        check_inferences(link, 5)
        line.restart(program)
        check_inferences(link, 5)
        results = []
        for result in link.stream(200):
            results.append(result)
            if result.run_id == 50:
                line.restart(program)
        check_stream(results)
        assert (len(results), link.statistics.reconnects) == (200, 0)
        assert link.statistics.restarts > 0
        line.restart(build_device(folder, "DIGEST_LAST=0xff"))
        with pytest.raises(LinkError, match="digest"):
            link.infer(bytes(32))
    line.close()


def test_another_digest_than_expected_names_both_models(device: Device, port: Path) -> None:
    with open_link(str(port)) as link, pytest.raises(LinkError) as error:
        link.expect_digest(bytes(16), "digits")
    for text in (str(port), "'mixer'", DIGEST.hex(), "'digits'", bytes(16).hex()):
        assert text in str(error.value)


def test_an_absent_port_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        LinkError, match=r"nowhere: no such port; (no serial )?ports (are )?here"
    ):
        open_link(str(tmp_path / "nowhere"))


def test_a_busy_port_is_an_error(device: Device, port: Path) -> None:
    with open_link(str(port)), pytest.raises(LinkError, match="port: the port is busy"):
        open_link(str(port))


def test_a_file_is_not_a_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(LinkError, match="file: is not a serial port"):
        open_link(str(tmp_path / "file"))


def test_an_address_where_nothing_listens_is_an_error() -> None:
    with pytest.raises(LinkError, match="nothing answers at this address"):
        open_link("socket://127.0.0.1:1")


def test_silence_is_an_error_that_names_port_and_request(
    silent: SilentPort, port: Path
) -> None:
    with pytest.raises(LinkError, match=r"port: no answer to HELLO within 0.2 s; nothing was"):
        quick_link(port, timeout_s=0.2)


def test_garbage_is_an_error_that_names_the_baud_rate(silent: SilentPort, port: Path) -> None:
    silent.say(b"login: \0\r\n")
    with pytest.raises(LinkError, match=r"none of them a frame.* at 115200 baud"):
        quick_link(port, timeout_s=0.3)


def test_another_protocol_version_is_an_error(silent: SilentPort, port: Path) -> None:
    silent.say(encode_frame(Frame(0x85, 0, b"\2no", version=2)))
    with pytest.raises(LinkError, match=r"port: the device talks protocol version 2"):
        quick_link(port)


def test_an_identity_that_is_malformed_is_no_answer(silent: SilentPort, port: Path) -> None:
    silent.say(*(encode_frame(Frame(0x81, number, bytes(20))) for number in range(100)))
    with pytest.raises(LinkError, match=r"no answer to HELLO.*'message'"):
        quick_link(port, timeout_s=0.2)


def test_a_device_in_the_middle_of_garbage_answers(device: Device, port: Path) -> None:
    with port.open("wb", buffering=0) as line:
        line.write(encode_frame(Frame(Hello.TYPE, 0, b""))[:7] + b"garbage" * 300)
    with quick_link(port) as link:
        check_inferences(link, 3)


def test_wrong_sizes_are_refused_before_anything_is_sent(device: Device, port: Path) -> None:
    with open_link(str(port)) as link:
        with pytest.raises(DataError, match=r"have 5 bytes in all, model 'mixer'.* takes 32"):
            link.infer([b"12", b"345"])
        for count, first in ((-1, 0), (1, -1), (2**32, 0), (2, 2**32 - 1)):
            with pytest.raises(DataError, match="not within"):
                link.stream(count, first)
        check_inferences(link, 1)


def test_a_stream_of_a_device_without_samples_is_refused(folder: Path, port: Path) -> None:
    device = Device(build_device(folder, app="serial"), port)
    with open_link(str(port)) as link:
        with pytest.raises(LinkError, match="'mixer' has no samples"):
            link.stream(1)
        check_inferences(link, 3)
    device.close()


@pytest.mark.parametrize("defines", [(), ("FIFO_BYTES=1",), ("FIFO_BYTES=16",)])
def test_an_endless_stream_ends_when_asked(
    folder: Path, port: Path, defines: tuple[str, ...]
) -> None:
    device = Device(build_device(folder, *defines), port)
    with open_link(str(port)) as link:
        results = []
        for result in link.stream(0):
            results.append(result)
            if len(results) == 50:
                link.stop()
        assert len(results) == 50
        check_stream(results)
        check_inferences(link, 2)
        check_stream(list(itertools.islice(link.stream(0, first=2**32 - 20), 20)), 2**32 - 20)
        check_inferences(link, 2)
    device.close()


def test_a_stream_left_on_by_another_program_does_no_harm(device: Device, port: Path) -> None:
    with quick_link(port) as link:
        next(iter(link.stream(0)))
    with port.open("wb", buffering=0) as line:
        line.write(encode_frame(Frame(4, 0, bytes(8))))
    with quick_link(port) as link:
        check_inferences(link, 3)
        check_stream(list(link.stream(30)))


def test_numbers_beyond_the_samples_start_over(device: Device, port: Path) -> None:
    with open_link(str(port)) as link:
        first = 2**32 - 9
        check_stream(list(link.stream(9, first)), first)


def test_an_endless_stream_outlives_its_32_bit_numbers(device: Device, port: Path) -> None:
    with open_link(str(port)) as link:
        results = list(itertools.islice(link.stream(0, first=2**32 - 4), 12))
    numbers = range(2**32 - 4, 2**32 + 8)
    assert [result.run_id for result in results] == list(numbers)
    for result in results:
        sample = result.run_id % 2**32 % SAMPLES
        assert result.output == expected_output(sample_inputs(sample))


def test_an_inference_within_a_stream_leaves_the_stream_whole(
    device: Device, port: Path
) -> None:
    results = []
    with quick_link(port) as link:
        for result in link.stream(40):
            results.append(result)
            if result.run_id == 20:
                check_inferences(link, 2)
    assert len(results) == 40
    check_stream(results)


def test_a_run_longer_than_the_retry_time_is_waited_for(folder: Path, port: Path) -> None:
    device = Device(build_device(folder, "RUN_US=300000"), port)
    with quick_link(port) as link:
        check_inferences(link, 2)
        results = list(link.stream(4))
        check_stream(results)
        assert all(result.ticks >= 300_000 for result in results)
    with quick_link(port, timeout_s=0.15) as link:
        with pytest.raises(LinkError, match=r"port: no RESULT for RUN within 0.15 s"):
            link.infer(bytes(32))
        with pytest.raises(LinkError, match=r"port: no RESULT of sample 5 within 0.15 s"):
            list(link.stream(2, first=5))
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
        os.write(self._fd, encode_frame(Frame(kind, 0, payload, version)))

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
    assert raw.ask(0x01)[0] == 0x81


def test_the_device_tells_a_host_of_another_version(raw: RawLine) -> None:
    answer, text = raw.ask(0x01, version=2)
    assert (answer, text[0]) == (0x85, 2)


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
