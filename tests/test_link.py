import itertools
import random
import threading
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
from edgeq.stream.framing import Frame, encode_frame
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
