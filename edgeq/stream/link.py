"""Link: a device's model run over a serial line, with losses repaired.

A request is sent again until its answer has come: each is idempotent (edgeq_serial.h says how).
A result is taken only whole, from frames whose CRC-32 holds, with the number of the run that
was asked for.
"""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from types import TracebackType

from edgeq.errors import DataError, LinkError
from edgeq.stream.framing import MAX_PAYLOAD
from edgeq.stream.port import PortGoneError
from edgeq.stream.protocol import (
    INPUT_OVERHEAD,
    Ack,
    CyclesPiece,
    DeviceError,
    ErrorCode,
    Identity,
    Input,
    Message,
    Profile,
    ResultPiece,
    Run,
    Stop,
    Stream,
)
from edgeq.stream.result import Assembler, Result
from edgeq.stream.session import LONGEST_RETRY_S, Session, ack_of
from edgeq.stream.wire import RestartedError, Statistics

_WORD = 0xFFFFFFFF
_INPUT_TRIES = 10


def open_link(
    port: str,
    baud: int = 115_200,
    timeout_s: float = 5.0,
    *,
    retry_s: float = 0.2,
    reconnect_s: float = 10.0,
) -> Link:
    """A link to the device behind `port`, a name of the system or socket://HOST:PORT.

    timeout_s: how long an answer may take, a run of the model included; retry_s: how long until
    a request is sent again, at first; reconnect_s: how long a port may be gone.

    Raises:
        LinkError: no such port, port busy, no answer, or another protocol version.
    """
    session = Session(port, baud, timeout_s, retry_s=retry_s, reconnect_s=reconnect_s)
    try:
        session.identify()
    except BaseException:
        session.wire.close()
        raise
    return Link(session)


class Link:
    """An open link; made by open_link(). Not for use by several threads at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Numbers that no earlier program is likely to have used: its results may still come.
        self._first_run = random.SystemRandom().getrandbits(32)
        self._runs = 0
        self._stream_is_on = False

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> str:
        """The port's name."""
        return self._session.port

    @property
    def identity(self) -> Identity:
        """What the device said it is, at the last identify()."""
        return self._session.identity

    @property
    def statistics(self) -> Statistics:
        """Counts of frames, losses and retries so far."""
        return self._session.statistics

    def close(self) -> None:
        """Close the port; a stream that is on is asked to end."""
        if self._stream_is_on:
            with contextlib.suppress(PortGoneError, LinkError):
                self._session.wire.send(Stop())
        self._stream_is_on = False
        self._session.wire.close()

    def identify(self) -> Identity:
        """Ask the device what it is; ends a stream.

        Raises:
            LinkError: no answer, another protocol version, or another model than before.
        """
        return self._session.identify()

    def expect_digest(self, digest: bytes, model: str) -> None:
        """Check that the device runs the model of this digest, now and after a reconnection.

        Raises:
            LinkError: it runs another; names both with their digests.
        """
        self._session.expect_digest(digest, model)

    def infer(self, inputs: Sequence[bytes] | bytes) -> Result:
        """Run the model on the device; `inputs` are its tensors' bytes, apart or joined.

        Raises:
            DataError: not as many bytes as the model takes.
            LinkError: no answer in time, or the device refused.
        """
        data = inputs if isinstance(inputs, bytes) else b"".join(inputs)
        if len(data) != self.identity.input_nbytes:
            raise DataError(
                f"inputs: have {len(data)} bytes in all, model '{self.identity.model}' "
                f"on {self.port} takes {self.identity.input_nbytes}"
            )
        number, self._runs = self._runs, self._runs + 1
        run = Run((self._first_run + number) & _WORD, zlib.crc32(data))
        result = self._session.recovering(lambda: self._infer(data, run))
        return replace(result, run_id=number)

    def cycles(self) -> tuple[bool, tuple[int, ...]]:
        """Cycles of each layer in the last infer(); first, whether a real core counted them.

        Raises:
            LinkError: no answer in time, or the firmware does not measure its layers.
        """
        return self._session.recovering(self._cycles)

    def _cycles(self) -> tuple[bool, tuple[int, ...]]:
        found: list[int] = []
        while True:
            first = len(found)

            def piece_in(message: Message, first: int = first) -> CyclesPiece | None:
                if isinstance(message, CyclesPiece) and message.first == first:
                    return message
                return None

            piece = self._session.ask(Profile(first), piece_in, f"PROFILE from {first}")
            found += piece.cycles
            if len(found) == piece.layers:
                return piece.is_real, tuple(found)

    def stream(self, count: int, first: int = 0) -> Iterator[Result]:
        """Results of the firmware's own samples `first`, first + 1, ..., in order, each once.

        count: how many; 0: without end. Numbers beyond the device's samples start over at its
        first sample. What is lost on the line is asked for again.

        Raises:
            DataError: `count` or `first` is out of range.
            LinkError: the device has no samples, or (while iterating) nothing came in time.
        """
        if not (0 <= count <= _WORD and 0 <= first <= _WORD and first + count <= _WORD + 1):
            raise DataError(f"stream: {count} runs from {first} on are not within 0 to 2**32")
        if self.identity.samples == 0:
            raise LinkError(
                f"{self.port}: the firmware of '{self.identity.model}' has no samples; "
                "send inputs, or generate it with samples"
            )
        return self._stream(first, first + count if count else None)

    def stop(self) -> None:
        """End the stream that is on; its iterator ends too.

        Raises:
            LinkError: no answer in time.
        """
        self._stream_is_on = False
        self._session.recovering(self._stop)

    def _is_streaming(self) -> bool:
        return self._stream_is_on  # stop() and close() may change it while a result is out

    def _stop(self) -> None:
        self._session.ask(Stop(), ack_of(Stop(), 0), "STOP")

    def _infer(self, data: bytes, run: Run) -> Result:
        step = min(self.identity.max_payload, MAX_PAYLOAD) - INPUT_OVERHEAD
        for _ in range(_INPUT_TRIES):
            for offset in range(0, len(data), step):
                chunk = Input(offset, data[offset : offset + step])
                end = offset + len(chunk.data)
                self._session.ask(chunk, ack_of(chunk, end), f"INPUT bytes {offset} to {end}")
            result = self._run(run)
            if result is not None:
                return result
        raise LinkError(
            f"{self.port}: the inputs arrived altered {_INPUT_TRIES} times; "
            "check the cable, or lower the baud rate"
        )

    def _run(self, run: Run) -> Result | None:
        """The result of a run; None if the device does not hold its inputs."""
        session = self._session
        # Shares of the time-out, so that several tries fit whatever a stall has taught. A
        # device that still computes answers each from the one run.
        patience = session.patience(
            "no RESULT for RUN",
            session.timeout_s / 8.0,
            min(2.0 * session.result_s, session.timeout_s / 16.0),
        )
        assembler = Assembler()
        furthest = -1
        while True:
            session.send(run, patience)
            while not patience.is_over():
                received = session.poll(patience)
                if received is None:
                    continue
                message, sequence = received
                if isinstance(message, DeviceError) and message.code == ErrorCode.INPUT:
                    return None
                session.raise_refusal(message, run)
                if not isinstance(message, ResultPiece) or message.run_id != run.run_id:
                    continue
                session.check_size(message)
                if furthest < 0:
                    session.learn(patience)
                if message.offset > furthest:
                    furthest = message.offset
                    patience.progress()
                patience.wait(0.0)
                result = assembler.add(message, sequence)
                if result is not None:
                    return result
                if message.offset + len(message.data) == message.output_nbytes:
                    break  # the last piece has come, one before it has not

    def _stream(self, first: int, end: int | None) -> Generator[Result, None, None]:
        due = first
        recoveries = 0
        self._stream_is_on = True
        try:
            while self._is_streaming() and (end is None or due < end):
                try:
                    for result in self._stream_from(due, end, is_new=due == first):
                        due += 1
                        recoveries = 0
                        yield replace(result, run_id=due - 1)
                        if not self._is_streaming():
                            break
                except (PortGoneError, RestartedError) as error:
                    recoveries += 1
                    self._session.recover(error, recoveries)
        except GeneratorExit:
            if self._stream_is_on:
                with contextlib.suppress(LinkError, PortGoneError, RestartedError):
                    self._stop()
            raise
        finally:
            self._stream_is_on = False

    def _stream_from(
        self, due: int, end: int | None, *, is_new: bool
    ) -> Generator[Result, None, None]:
        """`is_new`: results that come before this request is accepted are of another stream."""
        session = self._session
        patience = session.patience(f"no RESULT of sample {due}", LONGEST_RETRY_S)
        assembler = Assembler()
        while end is None or due < end:
            request = Stream(0 if end is None else end - due, due & _WORD)
            session.send(request, patience)
            assembler.clear()
            accepted = False  # what comes belongs to this request, not to one before it
            while (end is None or due < end) and not patience.is_over(hurried=not accepted):
                received = session.poll(patience)
                if received is None:
                    continue
                message, sequence = received
                session.raise_refusal(message, request)
                if message == Ack(Stream.TYPE, request.first):
                    accepted = True
                    assembler.clear()
                    patience.wait(3.0 * session.result_s or session.timeout_s / 4.0)
                if not isinstance(message, ResultPiece):
                    continue
                session.check_size(message)
                ahead = (message.run_id - due) & _WORD
                result = assembler.add(message, sequence)
                if ahead == 0 and result is not None and (accepted or not is_new):
                    session.learn(patience)
                    due += 1
                    is_new = False
                    accepted = True
                    yield result
                    patience.progress(f"no RESULT of sample {due}")
                    patience.wait(3.0 * session.result_s)
                elif accepted and (
                    0 < ahead <= _WORD // 2 or (ahead == 0 and not assembler.is_on)
                ):
                    break  # a piece of the result that is due is lost
