import itertools
import os
import pty
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from stream_device import Device, build_device

from edgeq.errors import LinkError
from edgeq.stream import Link, open_link
from edgeq.stream.framing import Frame, encode_frame


@pytest.fixture
def port(tmp_path: Path) -> Path:
    return tmp_path / "port"


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory, port: Path) -> Iterator[Device]:
    device = Device(build_device(tmp_path_factory.getbasetemp()), port)
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
