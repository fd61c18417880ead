"""When to send a request again, and when to give up."""

from __future__ import annotations

import time

from edgeq.errors import LinkError
from edgeq.stream.wire import Statistics


class Patience:
    """The clock of one wait: asks again after ever longer times, gives up when time is out.

    All times are in seconds. Progress (part of the answer has come) starts both times anew.
    """

    def __init__(
        self,
        port: str,
        baud: int,
        what: str,
        statistics: Statistics,
        *,
        timeout_s: float,
        retry_s: float,
        longest_retry_s: float,
    ) -> None:
        self._port = port
        self._baud = baud
        self._what = what  # "no answer to HELLO"
        self._statistics = statistics
        self._timeout_s = timeout_s
        self._first_retry_s = retry_s
        self._longest_retry_s = longest_retry_s
        self._asked = False
        self._asked_at = time.monotonic()
        self._retry_s = retry_s
        self.asked_again = False  # since the last progress
        self._bytes_before = statistics.bytes_received
        self._frames_before = statistics.frames_received
        self.progress()

    def ask(self) -> None:
        """Note that the request goes out now.

        Raises:
            LinkError: it has gone out before, and the time for its answer is over.
        """
        now = time.monotonic()
        if self._asked:
            if now >= self._give_up_at:
                raise LinkError(self._complaint())
            self._statistics.retries += 1
            self.asked_again = True
        self._asked = True
        self._asked_at = now
        self._retry_at = now + self._retry_s
        self._hurried_at = float("inf")
        self._retry_s = max(
            self._first_retry_s, min(2.0 * self._retry_s, self._longest_retry_s)
        )

    def progress(self, what: str = "") -> None:
        """Note that part of the answer is here, or all and `what` is waited for from now on."""
        self._started_at = time.monotonic()
        self._what = what or self._what
        self._give_up_at = self._started_at + self._timeout_s
        self.asked_again = False
        self.wait(0.0)

    def wait(self, least_s: float) -> None:
        """The request has arrived: ask again only after `least_s`; when to give up stands."""
        self._retry_s = max(self._first_retry_s, least_s)
        self._retry_at = time.monotonic() + self._retry_s
        self._hurried_at = float("inf")

    def hurry(self, at: float) -> None:
        """Something was lost, so the answer may be: ask again at that time if nothing comes."""
        self._hurried_at = at

    def is_over(self, *, hurried: bool = True) -> bool:
        """Whether it is time to ask again or to give up; `hurried`: heed hurry()."""
        now = time.monotonic()
        if hurried and now >= self._hurried_at:
            return True
        return now >= min(self._retry_at, self._give_up_at)

    def waited_s(self) -> float:
        """Time since the last progress, or the start."""
        return time.monotonic() - self._started_at

    def since_asked_s(self) -> float:
        """Time since the request went out last."""
        return time.monotonic() - self._asked_at

    def _complaint(self) -> str:
        complaint = f"{self._port}: {self._what} within {self._timeout_s:g} s"
        nbytes = self._statistics.bytes_received - self._bytes_before
        if nbytes == 0:
            return f"{complaint}; nothing was heard: is it the right port, does the board run?"
        if self._statistics.frames_received == self._frames_before:
            return (
                f"{complaint}; {nbytes} bytes were heard, none of them a frame: "
                f"does the board talk edgeq at {self._baud} baud?"
            )
        bad = dict(self._statistics.bad_frames)
        return f"{complaint}; altered frames so far: {bad or 'none'}"
