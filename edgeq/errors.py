"""The errors that edgeq raises on purpose: each says where, what is, and what must be.

The command line prints the text of an EdgeqError as one line and exits with 1; any other
exception that reaches a user is a bug.
"""

from __future__ import annotations


class EdgeqError(Exception):
    """Base of every error that is a message to the user, not a bug."""


class GraphError(EdgeqError):
    """A graph breaks a rule; names the node or the tensor and the rule."""


class ImportFailure(EdgeqError):  # noqa: N818 - "ImportError" is taken by Python
    """A model file cannot be read; names the file and all that is not supported in it."""


class ExportFailure(EdgeqError):  # noqa: N818 - as ImportFailure
    """A graph cannot be written in a format; names the layer and what the format lacks."""


class QuantizeError(EdgeqError):
    """A float graph cannot be quantized, or calibration data do not fit it."""


class DataError(EdgeqError):
    """Input data has the wrong shape, type or values; names the file or the argument."""


class BoardError(EdgeqError):
    """A board is unknown, its file is wrong, or a model does not fit it."""


class ToolError(EdgeqError):
    """A tool is missing or failed; names it and how to get it."""


class LinkError(EdgeqError):
    """The serial line failed: port absent or busy, no answer in time, wrong model."""


class EmulatorError(EdgeqError):
    """An emulator cannot run a board, or its firmware stopped; names PC, address and why."""
