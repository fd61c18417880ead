"""Session: requests to a device, each repeated until answered; the port reopened if it goes.

The device polls its receiver, so only one request is under way at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from edgeq.errors import LinkError
from edgeq.stream.framing import MAX_ENCODED
from edgeq.stream.patience import Patience
from edgeq.stream.port import PortGoneError
from edgeq.stream.protocol import (
    Ack,
    DeviceError,
    ErrorCode,
    Hello,
    Identity,
    Input,
    Message,
    Profile,
    Request,
    ResultPiece,
    Stream,
)
from edgeq.stream.wire import RestartedError, Statistics, Wire

LONGEST_RETRY_S = 0.8  # below the second for which a stream listens once it has heard a byte
_RECOVERIES = 5  # in a row without a result between
_LONGEST_BACKOFF_S = 1.0
# An answer to an earlier request, sent twice, may still come: these are heeded only for theirs.
_ANSWERS_ONLY: dict[int, type[Request]] = {ErrorCode.RANGE: Input, ErrorCode.SAMPLES: Stream}

_T = TypeVar("_T")


class Session:
    """One device behind one port; every request of a Link goes through it.

    Requests raise PortGoneError when the port fails and RestartedError when the device does:
    recovering() or recover() puts both right.
    """

    def __init__(
        self, port: str, baud: int, timeout_s: float, *, retry_s: float, reconnect_s: float
    ) -> None:
        """Open the port.

        Raises:
            LinkError: it cannot be opened.
        """
        self.port = port
        self.timeout_s = timeout_s
        self.result_s = 0.0  # how long results lately took to come
        self._baud = baud
        frame_s = 10.0 * MAX_ENCODED / baud  # start bit, 8 data bits, stop bit
        self._retry_s = retry_s + 2.0 * frame_s
        self._quiet_s = (
            0.15 * retry_s + frame_s
        )  # silence after which a lost answer is given up
        self._reconnect_s = reconnect_s
        self._identity: Identity | None = None
        self._expected: tuple[str, bytes] | None = None  # model and digest
        self.wire = Wire(port, baud)

    @property
    def identity(self) -> Identity:
        """What the device said it is, at the last identify()."""
        if self._identity is None:
            raise LinkError(f"{self.port}: the device has not been identified yet")
        return self._identity

    @property
    def statistics(self) -> Statistics:
        """Counts of frames, losses and retries so far."""
        return self.wire.statistics

    def identify(self) -> Identity:
        """Ask the device what it is.

        Raises:
            LinkError: no answer, another protocol version, or another model than before.
        """
        if self._identity is not None:
            return self.recovering(self._identify)
        give_up_at = time.monotonic() + self.timeout_s
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

    def ask(
        self, request: Request, answer_in: Callable[[Message], _T | None], wanted: str
    ) -> _T:
        """Send a request until `answer_in` finds its answer in a message.

        Raises:
            LinkError: no answer to `wanted` in time, or the device refuses.
        """
        patience = self.patience(f"no answer to {wanted}", LONGEST_RETRY_S)
        while True:
            self.send(request, patience)
            while not patience.is_over():
                received = self.poll(patience)
                if received is None:
                    continue
                self.raise_refusal(received[0], request)
                answer = answer_in(received[0])
                if answer is not None:
                    return answer

    def patience(self, what: str, longest_retry_s: float, least_s: float = 0.0) -> Patience:
        """The clock for a wait; `what` is the complaint if it is in vain."""
        return Patience(
            self.port,
            self._baud,
            what,
            self.statistics,
            timeout_s=self.timeout_s,
            retry_s=max(self._retry_s, least_s),
            longest_retry_s=longest_retry_s,
        )

    def send(self, request: Request, patience: Patience) -> None:
        """Send a request, again if it has been sent under this patience.

        Raises:
            LinkError: the time for its answer is over.
        """
        patience.ask()
        self.wire.disturbed = False
        self.wire.send(request)

    def poll(self, patience: Patience) -> tuple[Message, int] | None:
        """The next message and its frame's number; None if a moment brought none."""
        received = self.wire.poll()
        if self.wire.disturbed:
            patience.hurry(self.wire.heard_at + self._quiet_s)
        return received

    def learn(self, patience: Patience) -> None:
        """A result has come: how long it took tells when the next is overdue.

        After a retry it counts from the last one: the time before may be that of losses, and on
        a noisy line waiting for losses would make the next wait longer still.
        """
        waited_s = patience.waited_s()
        if patience.asked_again:
            waited_s = min(patience.since_asked_s(), self.timeout_s / 4.0)
        self.result_s = max(0.9 * self.result_s, waited_s)

    def raise_refusal(self, message: Message, request: Request) -> None:
        """Nothing, unless the message refuses the request.

        Raises:
            LinkError: it does; ErrorCode.INPUT is left to the caller.
        """
        if not isinstance(message, DeviceError) or message.code == ErrorCode.INPUT:
            return
        if message.code == ErrorCode.TYPE and isinstance(request, Profile):
            raise LinkError(
                f"{self.port}: the firmware does not measure its layers; build one that does "
                "with `edgeq build MODEL --board BOARD --measured`, and flash it"
            )
        only = _ANSWERS_ONLY.get(message.code)
        if only is not None and not isinstance(request, only):
            return
        name = type(request).__name__.upper()
        raise LinkError(f"{self.port}: the device refused {name}: {message.text}")

    def check_size(self, piece: ResultPiece) -> None:
        """Nothing, unless a result cannot be of the model that was identified.

        Raises:
            RestartedError: another model runs there now.
        """
        if piece.output_nbytes != self.identity.output_nbytes:
            self.statistics.restarts += 1
            raise RestartedError

    def recovering(self, work: Callable[[], _T]) -> _T:
        """What `work` gives, begun anew when port or device fail."""
        recoveries = 0
        while True:
            try:
                return work()
            except (PortGoneError, RestartedError) as error:
                recoveries += 1
                self.recover(error, recoveries)

    def recover(self, error: PortGoneError | RestartedError, recoveries: int) -> None:
        """Reopen the port if it has gone, and see that the same model is there.

        Raises:
            LinkError: it does not come back, runs another model, or failed too often.
        """
        if recoveries > _RECOVERIES:
            what = "restarted" if isinstance(error, RestartedError) else "was disconnected"
            raise LinkError(f"{self.port}: the device {what} {recoveries} times in a row")
        give_up_at = time.monotonic() + self._reconnect_s
        failure: Exception = error
        while True:
            try:
                if isinstance(failure, PortGoneError):
                    self._reopen(failure, give_up_at)
                self._identify()
                return
            except (PortGoneError, RestartedError) as again:
                failure = again
            if time.monotonic() > give_up_at:
                raise LinkError(f"{self.port}: the device keeps going away") from failure

    def _reopen(self, gone: PortGoneError, give_up_at: float) -> None:
        backoff_s = 0.05
        while True:
            time.sleep(backoff_s)
            try:
                self.wire.reopen()
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

    def _identify(self) -> Identity:
        identity = self.ask(Hello(), _identity_in, "HELLO")
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


def ack_of(request: Request, value: int) -> Callable[[Message], Ack | None]:
    """What finds the Ack of a request among messages."""
    wanted = Ack(request.TYPE, value)
    return lambda message: wanted if message == wanted else None


def _identity_in(message: Message) -> Identity | None:
    return message if isinstance(message, Identity) else None
