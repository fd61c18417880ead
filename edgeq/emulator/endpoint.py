"""The host's side of an emulated serial port: a pty or a TCP port, never blocking.

As on a wire, bytes sent while nobody has the port open are lost; while it is open none are:
a slow reader makes the firmware's transmitter wait.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from typing import Protocol

CHUNK_NBYTES = 1 << 14


class Endpoint(Protocol):
    """One serial port as the emulator sees it."""

    port: str

    def receive(self) -> bytes:
        """What the host has sent since the last call, at most CHUNK_NBYTES."""

    def send(self, data: bytes) -> int:
        """How many of the bytes are on their way or lost; the others must be sent again."""

    def wait(self, timeout_s: float, *, sending: bool) -> None:
        """Return when the host has sent something, or takes more if `sending`, or in time."""

    def close(self) -> None:
        """Release the port."""


class PtyEndpoint:
    """A pseudo-terminal in raw mode. The host may close and open it again."""

    def __init__(self) -> None:
        import tty

        self._master, slave = os.openpty()
        self.port = os.ttyname(slave)
        tty.setraw(slave)
        # Without an open slave, poll reports a hang-up: so it is known that nobody listens.
        os.close(slave)
        os.set_blocking(self._master, False)
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN)

    def receive(self) -> bytes:
        """What the host has sent."""
        try:
            return os.read(self._master, CHUNK_NBYTES)
        except OSError:  # nothing there (EAGAIN), or nobody has the slave open (EIO)
            return b""

    def send(self, data: bytes) -> int:
        """Send what the pty takes, or lose it all if nobody has it open."""
        if self._hung_up():
            return len(data)
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def wait(self, timeout_s: float, *, sending: bool) -> None:
        """Wait for the host."""
        self._poll.modify(self._master, select.POLLIN | (select.POLLOUT if sending else 0))
        events = self._poll.poll(timeout_s * 1000)
        if events and events[0][1] & select.POLLHUP and not events[0][1] & select.POLLIN:
            time.sleep(min(timeout_s, 0.005))  # poll returns at once until a host opens it

    def close(self) -> None:
        """Release the pty."""
        with contextlib.suppress(OSError):
            os.close(self._master)

    def _hung_up(self) -> bool:
        self._poll.modify(self._master, select.POLLIN)
        return any(event & select.POLLHUP for _, event in self._poll.poll(0))


class TcpEndpoint:
    """A TCP port on 127.0.0.1 with one client at a time; the next is served after it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._server.setblocking(False)
        self._client: socket.socket | None = None
        self.port = f"socket://127.0.0.1:{self._server.getsockname()[1]}"

    def receive(self) -> bytes:
        """What the client has sent."""
        client = self._accepted()
        if client is None:
            return b""
        try:
            data = client.recv(CHUNK_NBYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop()
        return data

    def send(self, data: bytes) -> int:
        """Send what the socket takes, or lose it all if there is no client."""
        client = self._accepted()
        if client is None:
            return len(data)
        try:
            return client.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop()
            return len(data)

    def wait(self, timeout_s: float, *, sending: bool) -> None:
        """Wait for the client, or for one to come."""
        which = self._client or self._server
        writers = [which] if sending and self._client is not None else []
        select.select([which], writers, [], timeout_s)

    def close(self) -> None:
        """Release the port."""
        self._drop()
        self._server.close()

    def _accepted(self) -> socket.socket | None:
        if self._client is None:
            with contextlib.suppress(BlockingIOError, OSError):
                self._client, _ = self._server.accept()
                self._client.setblocking(False)
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._client

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def open_endpoint(*, tcp: bool) -> PtyEndpoint | TcpEndpoint:
    """A pty, or a TCP port if `tcp` is true or the system has no ptys."""
    if tcp or sys.platform == "win32":
        return TcpEndpoint()
    return PtyEndpoint()
