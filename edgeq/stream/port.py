"""A serial port, or a TCP port in its place, opened by pyserial; failures said clearly."""

from __future__ import annotations

import errno
import sys
from typing import Any
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from edgeq.errors import LinkError

_FAILURES: tuple[type[Exception], ...] = (OSError,)  # serial.SerialException is one
if sys.platform != "win32":
    import termios

    _FAILURES += (termios.error,)  # pyserial lets it through where a port goes while configured

_OPEN_FAILURES: tuple[type[Exception], ...] = (*_FAILURES, ValueError)

_POLL_S = 0.02  # longest wait of one read: how soon a caller sees that its own time is up
_WRITE_TIMEOUT_S = 5.0


class PortGoneError(Exception):
    """The port failed while open: unplugged, closed by the other end, or stuck."""


class Port:
    """An open port; `name` is a device as the system names it, or socket://HOST:PORT."""

    def __init__(self, name: str, baud: int) -> None:
        """Open it for this process alone.

        Raises:
            LinkError: absent (names the ports that are there), busy, not permitted, or no port.
        """
        self.name = name
        self._is_socket = name.startswith("socket://")
        try:
            self._serial: Any = serial.serial_for_url(
                name,
                baudrate=baud,
                timeout=_POLL_S,
                write_timeout=_WRITE_TIMEOUT_S,
                exclusive=None if sys.platform == "win32" else True,
            )
        except _OPEN_FAILURES as error:
            raise LinkError(_why_not_open(name, error)) from error

    def read(self) -> bytes:
        """The bytes that have come; waits a moment (20 ms) for the first, b"" if none came.

        Raises:
            PortGoneError: the port failed.
        """
        try:
            if not self._is_socket:
                waiting: int = self._serial.in_waiting
                return bytes(self._serial.read(max(waiting, 1)))
            first = bytes(self._serial.read(1))
            if not first:
                return b""
            self._serial.timeout = 0  # what is there already; costs nothing on a socket
            try:
                return first + bytes(self._serial.read(4096))
            finally:
                self._serial.timeout = _POLL_S
        except _FAILURES as error:
            raise PortGoneError(str(error)) from error

    def write(self, data: bytes) -> None:
        """Send all bytes.

        Raises:
            PortGoneError: the port failed, or took nothing for 5 s.
        """
        try:
            self._serial.write(data)
        except _FAILURES as error:
            raise PortGoneError(str(error)) from error

    def close(self) -> None:
        """Close it; a port that has gone is closed without complaint."""
        try:
            self._serial.close()
        except _FAILURES:
            return


def _why_not_open(name: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    text = str(error)
    if code in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in text:
        return f"{name}: the port is busy; close the program that has it open"
    if code in (errno.EACCES, errno.EPERM) or "PermissionError" in text:
        if sys.platform == "win32":
            return f"{name}: the port is busy; close the program that has it open"
        return (
            f"{name}: no permission to open the port; "
            "join the group that owns it (on Debian: `adduser $USER dialout`)"
        )
    if code == errno.ENOENT or "FileNotFoundError" in text:
        return f"{name}: no such port; {_ports_here()}"
    if name.startswith("socket://"):
        if not _has_host_and_port(name):
            return f"{name}: is no address; must be socket://HOST:PORT, PORT from 1 to 65535"
        return f"{name}: nothing answers at this address: {text}; is the emulator running?"
    if code in (errno.ENOTTY, errno.EISDIR) or "Could not configure port" in text:
        return f"{name}: is not a serial port; {_ports_here()}"
    return f"{name}: cannot open the port: {text}; {_ports_here()}"


def _has_host_and_port(name: str) -> bool:
    try:
        address = urlsplit(name)
        return bool(address.hostname) and bool(address.port)
    except ValueError:
        return False


def _ports_here() -> str:
    ports = sorted(list_ports.comports())
    if not ports:
        return "no serial ports are here: is the board plugged in?"
    names = (
        port.device + (f" ({port.description})" if port.description not in ("n/a", "") else "")
        for port in ports
    )
    return f"ports here: {', '.join(names)}"
