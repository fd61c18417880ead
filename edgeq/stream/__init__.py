"""Talking to a device over a serial line: frames, messages, the link, and recording results."""

from edgeq.stream.link import Link, open_link
from edgeq.stream.recorder import OutputFormat, Recorder
from edgeq.stream.result import Result

__all__ = ["Link", "OutputFormat", "Recorder", "Result", "open_link"]
