"""Link: a device's model run over a serial line, with losses repaired.

A request is sent again until its answer has come: each is idempotent (edgeq_serial.h says how).
The device polls its receiver, so only one request is under way at a time. A result is taken only
whole, from frames whose CRC-32 holds, with the number of the run that was asked for.
"""

from __future__ import annotations

import contextlib
import random
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from edgeq.errors import DataError, LinkError
from edgeq.stream.framing import MAX_ENCODED, MAX_PAYLOAD
from edgeq.stream.patience import Patience
from edgeq.stream.port import PortGoneError
from edgeq.stream.protocol import (
    INPUT_OVERHEAD,
    Ack,
    DeviceError,
    ErrorCode,
    Hello,
    Identity,
    Input,
    Message,
    Request,
    ResultPiece,
    Run,
    Stop,
    Stream,
)
from edgeq.stream.result import Assembler, Result
from edgeq.stream.wire import RestartedError, Statistics, Wire

_WORD = 0xFFFFFFFF
_INPUT_TRIES = 10
_RECOVERIES = 5  # in a row without a result between
_LONGEST_RETRY_S = 0.8  # below the second for which a stream listens once it has heard a byte
_LONGEST_BACKOFF_S = 1.0

_T = TypeVar("_T")


def open_link(
    port: str,
    baud: int = 115_200,
    timeout_s: float = 5.0,
    *,
    retry_s: float = 0.2,
    reconnect_s: float = 10.0,
) -> Link:
    """A link to the device behind `port`, a name of the system or socket://HOST:PORT.

    timeout_s: how long an answer may take, a run of the model included; retry_s: how long before
    a request is sent again, at first; reconnect_s: how long a port may be gone.

    Raises:
        LinkError: no such port, port busy, no answer, or another protocol version.
    """
    link = Link(port, baud, timeout_s, retry_s=retry_s, reconnect_s=reconnect_s)
    try:
        link.identify()
    except BaseException:
        link.close()
        raise
    return link


class Link:
    """An open link; made by open_link(). Not for use by several threads at a time."""

    def __init__(
        self, port: str, baud: int, timeout_s: float, *, retry_s: float, reconnect_s: float
    ) -> None:
        self.port = port
        self._baud = baud
        self._timeout_s = timeout_s
        frame_s = 10.0 * MAX_ENCODED / baud  # start bit, 8 data bits, stop bit
        self._retry_s = retry_s + 2.0 * frame_s
        self._quiet_s = (
            0.15 * retry_s + frame_s
        )  # silence after which a lost answer is given up
        self._reconnect_s = reconnect_s
        self._wire = Wire(port, baud)
        self._identity: Identity | None = None
        self._expected: tuple[str, bytes] | None = None  # model and digest
        # Numbers that no earlier program is likely to have used: its results may still come.
        self._first_run = random.SystemRandom().getrandbits(32)
        self._runs = 0
        self._slowest_s = 0.0  # how long results lately took to come
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
    def identity(self) -> Identity:
        """What the device said it is, at the last identify()."""
        if self._identity is None:
            raise LinkError(f"{self.port}: the device has not been identified yet")
        return self._identity

    @property
    def statistics(self) -> Statistics:
        """Counts of frames, losses and retries so far."""
        return self._wire.statistics

    def close(self) -> None:
        """Close the port; a stream that is on is asked to end."""
        if self._stream_is_on:
            with contextlib.suppress(PortGoneError, LinkError):
                self._wire.send(Stop())
        self._stream_is_on = False
        self._wire.close()

    def identify(self) -> Identity:
        """Ask the device what it is; ends a stream.

        Raises:
            LinkError: no answer, another protocol version, or another model than before.
        """
        if self._identity is not None:
            return self._recovering(self._identify)
        give_up_at = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._identify()
            except RestartedError:
                if time.monotonic() > give_up_at:
                    raise LinkError(f"{self.port}: the device keeps restarting") from None
            except PortGoneError as error:
                raise LinkError(f"{self.port}: the port failed: {error}") from error

    def expect_digest(self, digest: bytes, model: str) -> None:
        """Check that the device runs the model of this digest, now and after a reconnection.

        Raises:
            LinkError: it runs another; names both with their digests.
        """
        self._expected = (model, digest)
        self._check_digest(self.identity)

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
        return replace(self._recovering(lambda: self._infer(data, run)), run_id=number)

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
                f"{self.port}: the firmware of '{self.identity.model}' has no samples of its own; "
                "send inputs, or generate it with samples"
            )
        return self._stream(first, first + count if count else None)

    def stop(self) -> None:
        """End the stream that is on; its iterator ends too.

        Raises:
            LinkError: no answer in time.
        """
        self._stream_is_on = False
        self._recovering(lambda: self._ask(Stop(), _ack_of(Stop(), 0), "STOP"))

    # One request and its answer

    def _identify(self) -> Identity:
        identity = self._ask(Hello(), _identity_in, "HELLO")
        self._check_digest(identity)
        self._identity = identity
        return identity

    def _check_digest(self, identity: Identity) -> None:
        expected = self._expected
        if expected is None and self._identity is not None:
            expected = (self._identity.model, self._identity.digest)
        if expected is not None and expected[1] != identity.digest:
            raise LinkError(
                f"{self.port}: the device runs model '{identity.model}' "
                f"(digest {identity.digest.hex()}), must be '{expected[0]}' "
                f"(digest {expected[1].hex()}); flash its firmware"
            )

    def _ask(
        self, request: Request, answer_in: Callable[[Message], _T | None], wanted: str
    ) -> _T:
        patience = self._patience(f"no answer to {wanted}", _LONGEST_RETRY_S)
        while True:
            self._send(request, patience)
            while not patience.is_over():
                received = self._poll(patience)
                if received is None:
                    continue
                self._raise_refusal(received[0], request)
                answer = answer_in(received[0])
                if answer is not None:
                    return answer

    def _infer(self, data: bytes, run: Run) -> Result:
        step = min(self.identity.max_payload, MAX_PAYLOAD) - INPUT_OVERHEAD
        for _ in range(_INPUT_TRIES):
            for offset in range(0, len(data), step):
                chunk = Input(offset, data[offset : offset + step])
                end = offset + len(chunk.data)
                self._ask(chunk, _ack_of(chunk, end), f"INPUT bytes {offset} to {end}")
            result = self._run(run)
            if result is not None:
                return result
        raise LinkError(
            f"{self.port}: the inputs arrived altered {_INPUT_TRIES} times; "
            "check the cable, or lower the baud rate"
        )

    def _run(self, run: Run) -> Result | None:
        """The result of a run; None if the device does not hold its inputs."""
        wait_s = max(_LONGEST_RETRY_S, self._timeout_s)
        patience = self._patience("no RESULT for RUN", wait_s, 2.0 * self._slowest_s)
        assembler = Assembler()
        furthest = -1
        while True:
            self._send(run, patience)
            while not patience.is_over():
                received = self._poll(patience)
                if received is None:
                    continue
                message, sequence = received
                if isinstance(message, DeviceError) and message.code == ErrorCode.INPUT:
                    return None
                self._raise_refusal(message, run)
                if not isinstance(message, ResultPiece) or message.run_id != run.run_id:
                    continue
                self._check_size(message)
                if furthest < 0:
                    self._learn(patience)
                if message.offset > furthest:
                    furthest = message.offset
                    patience.progress()
                patience.wait(0.0)
                result = assembler.add(message, sequence)
                if result is not None:
                    return result
                if message.offset + len(message.data) == message.output_nbytes:
                    break  # the last piece has come, one before it has not

    # A stream

    def _stream(self, first: int, end: int | None) -> Generator[Result, None, None]:
        due = first
        recoveries = 0
        self._stream_is_on = True
        try:
            while self._stream_is_on and (end is None or due < end):
                try:
                    for result in self._stream_from(due, end, is_new=due == first):
                        due += 1
                        recoveries = 0
                        yield replace(result, run_id=due - 1)
                        if not self._stream_is_on:
                            break
                except (PortGoneError, RestartedError) as error:
                    recoveries += 1
                    self._recover(error, recoveries)
        except GeneratorExit:
            if self._stream_is_on:
                with contextlib.suppress(LinkError, PortGoneError, RestartedError):
                    self._ask(Stop(), _ack_of(Stop(), 0), "STOP")
            raise
        finally:
            self._stream_is_on = False

    def _stream_from(
        self, due: int, end: int | None, *, is_new: bool
    ) -> Generator[Result, None, None]:
        """`is_new`: results that come before this request is accepted are not of this stream."""
        patience = self._patience(f"no RESULT of sample {due}", _LONGEST_RETRY_S)
        assembler = Assembler()
        while end is None or due < end:
            request = Stream(0 if end is None else end - due, due & _WORD)
            self._send(request, patience)
            assembler.clear()
            accepted = False  # what comes belongs to this request, not to one before it
            while (end is None or due < end) and not patience.is_over(hurried=not accepted):
                received = self._poll(patience)
                if received is None:
                    continue
                message, sequence = received
                self._raise_refusal(message, request)
                if message == Ack(Stream.TYPE, request.first):
                    accepted = True
                    assembler.clear()
                    patience.wait(3.0 * self._slowest_s or self._timeout_s / 4.0)
                if not isinstance(message, ResultPiece):
                    continue
                self._check_size(message)
                ahead = (message.run_id - due) & _WORD
                result = assembler.add(message, sequence)
                if ahead == 0 and result is not None and (accepted or not is_new):
                    self._learn(patience)
                    due += 1
                    is_new = False
                    accepted = True
                    yield result
                    patience.progress(f"no RESULT of sample {due}")
                    patience.wait(3.0 * self._slowest_s)
                elif accepted and (
                    0 < ahead <= _WORD // 2 or (ahead == 0 and not assembler.is_on)
                ):
                    break  # a piece of the due result is lost

    # Under all of them

    def _patience(self, what: str, longest_retry_s: float, least_s: float = 0.0) -> Patience:
        return Patience(
            self.port,
            self._baud,
            what,
            self.statistics,
            timeout_s=self._timeout_s,
            retry_s=max(self._retry_s, least_s),
            longest_retry_s=longest_retry_s,
        )

    def _send(self, request: Request, patience: Patience) -> None:
        patience.ask()
        self._wire.disturbed = False
        self._wire.send(request)

    def _poll(self, patience: Patience) -> tuple[Message, int] | None:
        received = self._wire.poll()
        if self._wire.disturbed:
            patience.hurry(self._wire.heard_at + self._quiet_s)
        return received

    def _learn(self, patience: Patience) -> None:
        """A result has come: how long it took tells when the next is overdue.

        After a retry the time may be that of a loss: it counts for less, and is soon forgotten.
        """
        waited_s = patience.waited_s()
        if patience.asked_again:
            waited_s = min(waited_s, self._timeout_s / 4.0)
        self._slowest_s = max(0.9 * self._slowest_s, waited_s)

    def _raise_refusal(self, message: Message, request: Request) -> None:
        if not isinstance(message, DeviceError) or message.code == ErrorCode.INPUT:
            return
        # An answer to an earlier request, sent twice, may still come.
        asked_by = {ErrorCode.RANGE: Input, ErrorCode.SAMPLES: Stream}
        if not isinstance(request, asked_by.get(message.code, Request)):
            return
        name = type(request).__name__.upper()
        raise LinkError(f"{self.port}: the device refused {name}: {message.text}")

    def _check_size(self, piece: ResultPiece) -> None:
        if piece.output_nbytes != self.identity.output_nbytes:
            self.statistics.restarts += 1
            raise RestartedError  # another model runs there now

    def _recovering(self, work: Callable[[], _T]) -> _T:
        recoveries = 0
        while True:
            try:
                return work()
            except (PortGoneError, RestartedError) as error:
                recoveries += 1
                self._recover(error, recoveries)

    def _recover(self, error: PortGoneError | RestartedError, recoveries: int) -> None:
        """Reopen the port if it has gone, and see that the same model is there."""
        if recoveries > _RECOVERIES:
            what = "restarted" if isinstance(error, RestartedError) else "was disconnected"
            raise LinkError(f"{self.port}: the device {what} {recoveries} times in a row")
        give_up_at = time.monotonic() + self._reconnect_s
        backoff_s = 0.05
        gone: Exception | None = error if isinstance(error, PortGoneError) else None
        while True:
            try:
                if gone is not None:
                    self._reopen(gone, give_up_at, backoff_s)
                self._identify()
                return
            except RestartedError:
                gone = None
            except PortGoneError as again:
                gone = again
            if time.monotonic() > give_up_at:
                raise LinkError(f"{self.port}: the device keeps going away") from gone
            backoff_s = min(2.0 * backoff_s, _LONGEST_BACKOFF_S)

    def _reopen(self, gone: Exception, give_up_at: float, backoff_s: float) -> None:
        while True:
            time.sleep(backoff_s)
            try:
                self._wire.reopen()
            except LinkError as error:
                if time.monotonic() > give_up_at:
                    raise LinkError(
                        f"{self.port}: disconnected ({gone}) and not back within "
                        f"{self._reconnect_s:g} s: {error}"
                    ) from error
                backoff_s = min(2.0 * backoff_s, _LONGEST_BACKOFF_S)
            else:
                self.statistics.reconnects += 1
                return


def _identity_in(message: Message) -> Identity | None:
    return message if isinstance(message, Identity) else None


def _ack_of(request: Request, value: int) -> Callable[[Message], Ack | None]:
    wanted = Ack(request.TYPE, value)
    return lambda message: wanted if message == wanted else None
