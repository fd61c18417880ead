"""What every emulator is to its user: a port to open, and word of how the run ended."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Self

from edgeq.errors import EmulatorError, LinkError


class Emulator(abc.ABC):
    """A running emulated board, closed by `close` or at the end of a `with` block.

    `port` is what pyserial's `serial_for_url` opens: a pty's path, or socket://127.0.0.1:N.
    `error` is why the run stopped by itself, None while it goes on; a `with` block that a
    LinkError ends raises it in its place.
    """

    port: str
    error: EmulatorError | None

    @property
    @abc.abstractmethod
    def returncode(self) -> int | None:
        """None while the board runs; 0 after `close`; else not 0, and `error` says why."""

    @abc.abstractmethod
    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the run has ended by itself or by `close`; False if time is up before."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the run and release the port; again is no error."""

    def check(self) -> None:
        """Raise what stopped the run, if it stopped by itself.

        Raises:
            EmulatorError: the firmware stopped; the text has PC, function, address and why.
        """
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(error, LinkError) and self.error is not None:
            raise self.error from error  # the reason why the link failed
