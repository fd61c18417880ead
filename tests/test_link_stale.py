"""Answers that belong to an earlier request, from a device played in Python."""

import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeq.errors import LinkError
from edgeq.stream import Link, open_link
from edgeq.stream.framing import Frame, FrameDecoder, encode_frame
from edgeq.stream.protocol import (
    Ack,
    DeviceError,
    Hello,
    Identity,
    Input,
    Message,
    ResultPiece,
    Run,
    Stop,
    Stream,
    decode_message,
    encode_message,
)

IDENTITY = Identity(256, 4, 4, 8, 1000, 5, bytes(16), "played", "host", "1")
Answering = Callable[[Message], list[Message]]


def piece(run_id: int, data: bytes, offset: int = 0) -> ResultPiece:
    return ResultPiece(run_id, 1, 4, offset, data)


class Played:
    """Answers HELLO, INPUT and STOP as a device does, RUN and STREAM as `answering` says."""

    def __init__(self, port: Path) -> None:
        self._line, self._slave = pty.openpty()
        tty.setraw(self._slave)
        port.symlink_to(os.ttyname(self._slave))
        self.answering: Answering = lambda request: []
        self.requests: list[Message] = []
        self._sequence = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def skip(self, frames: int) -> None:
        """As if so many frames had been lost."""
        self._sequence = (self._sequence + frames) & 0xFFFF

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._line)
        os.close(self._slave)

    def _play(self) -> None:
        decoder = FrameDecoder()
        while not self._ended.is_set():
            if not select.select([self._line], [], [], 0.02)[0]:
                continue
            for frame in decoder.feed(os.read(self._line, 4096)):
                request = decode_message(frame.type, frame.payload)
                self.requests.append(request)
                for answer in self._answers(request):
                    payload = encode_message(answer)
                    frame = Frame(answer.TYPE, self._sequence, payload)
                    os.write(self._line, encode_frame(frame))
                    self.skip(1)

    def _answers(self, request: Message) -> list[Message]:
        match request:
            case Hello():
                return [IDENTITY]
            case Input(offset, data):
                return [Ack(Input.TYPE, offset + len(data))]
            case Stop():
                return [Ack(Stop.TYPE, 0)]
        return self.answering(request)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    played = Played(tmp_path / "port")
    yield played
    played.close()


@pytest.fixture
def link(played: Played, tmp_path: Path) -> Iterator[Link]:
    with open_link(str(tmp_path / "port"), timeout_s=5.0, retry_s=0.05) as link:
        yield link


def test_the_result_of_another_run_is_not_taken(played: Played, link: Link) -> None:
    def answer(request: Message) -> list[Message]:
        assert isinstance(request, Run)
        other = (request.run_id - 1) & 0xFFFFFFFF
        return [piece(other, b"othr"), piece(request.run_id, b"mine")]

    played.answering = answer
    assert link.infer(b"data").output == b"mine"


def test_pieces_of_two_executions_are_not_mixed(played: Played, link: Link) -> None:
    def answer(request: Message) -> list[Message]:
        assert isinstance(request, Run)
        if sum(isinstance(r, Run) for r in played.requests) == 1:
            return [piece(request.run_id, b"AA")]
        if sum(isinstance(r, Run) for r in played.requests) == 2:
            played.skip(1)  # the first piece is lost
            return [piece(request.run_id, b"BB", 2)]
        return [piece(request.run_id, b"CC"), piece(request.run_id, b"CC", 2)]

    played.answering = answer
    assert link.infer(b"data").output == b"CCCC"


def test_refused_inputs_are_sent_again(played: Played, link: Link) -> None:
    def answer(request: Message) -> list[Message]:
        assert isinstance(request, Run)
        inputs = sum(isinstance(r, Input) for r in played.requests)
        return [piece(request.run_id, b"good")] if inputs > 2 else [DeviceError(6, "altered")]

    played.answering = answer
    assert link.infer(b"data").output == b"good"
    assert sum(isinstance(r, Input) for r in played.requests) == 3


def test_inputs_that_never_arrive_whole_are_an_error(played: Played, link: Link) -> None:
    played.answering = lambda request: [DeviceError(6, "altered")]
    with pytest.raises(LinkError, match="inputs arrived altered 10 times"):
        link.infer(b"data")


def test_a_fault_of_the_program_is_an_error_with_its_text(played: Played, link: Link) -> None:
    played.answering = lambda request: [DeviceError(8, "fault: pc 00000123")]
    with pytest.raises(LinkError, match="stopped: fault: pc 00000123"):
        link.infer(b"data")


def test_a_stream_takes_no_result_of_a_stream_before_it(played: Played, link: Link) -> None:
    def answer(request: Message) -> list[Message]:
        assert isinstance(request, Stream)
        new = [piece(request.first + i, b"new%d" % i) for i in range(request.count)]
        return [piece(request.first, b"old0"), Ack(Stream.TYPE, request.first), *new]

    played.answering = answer
    assert [r.output for r in link.stream(3)] == [b"new0", b"new1", b"new2"]


def test_what_a_stream_loses_is_asked_for_by_its_number(played: Played, link: Link) -> None:
    def answer(request: Message) -> list[Message]:
        assert isinstance(request, Stream)
        numbers = list(range(request.first, request.first + request.count))
        if request.first == 10:
            numbers.remove(12)
        results = [piece(n, b"r%03d" % n) for n in numbers]
        return [Ack(Stream.TYPE, request.first), *results]

    played.answering = answer
    results = list(link.stream(6, first=10))
    assert [(r.run_id, r.output) for r in results] == [(n, b"r%03d" % n) for n in range(10, 16)]
    streams = [r for r in played.requests if isinstance(r, Stream)]
    assert streams == [Stream(6, 10), Stream(4, 12)]


def test_a_jump_of_the_sequence_means_a_restart(played: Played, link: Link) -> None:
    def answer(request: Message) -> list[Message]:
        assert isinstance(request, Run)
        return [piece(request.run_id, b"good")]

    played.answering = answer
    link.infer(b"data")
    played.skip(30000)
    assert link.infer(b"data").output == b"good"
    assert (link.statistics.restarts, link.statistics.frames_lost) == (1, 0)
    assert sum(isinstance(r, Hello) for r in played.requests) == 2
