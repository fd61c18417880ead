"""Results put together from the pieces that a device sends."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.stream.protocol import ResultPiece


@dataclass(frozen=True, slots=True)
class Result:
    """The outputs of one run on a device, all tensors one behind the other."""

    output: bytes
    ticks: int  # of the core's clock, that the run took
    run_id: int  # counts infer()'s runs of a link from 0; the sample's number in a stream


class Assembler:
    """Joins the pieces of one result; takes only pieces whose frames follow one another.

    Two executions of one run are never mixed: their pieces' frames do not follow one another.
    """

    def __init__(self) -> None:
        self._output = bytearray()
        self._next: tuple[int, int] | None = None  # run_id and sequence of the piece to come

    @property
    def is_on(self) -> bool:
        """Whether a result has begun and may still be completed."""
        return self._next is not None

    def clear(self) -> None:
        """Forget a result that has begun."""
        self._next = None

    def add(self, piece: ResultPiece, sequence: int) -> Result | None:
        """The result if this piece completes it; `sequence` is that of the piece's frame."""
        if piece.offset == 0:
            self._output.clear()
        elif (piece.run_id, sequence) != self._next or piece.offset != len(self._output):
            self.clear()
            return None
        self._output += piece.data
        self._next = (piece.run_id, (sequence + 1) & 0xFFFF)
        if len(self._output) < piece.output_nbytes:
            return None
        self.clear()
        return Result(bytes(self._output), piece.ticks, piece.run_id)
