"""Interpreter: an integer graph on the host, inside one arena at the plan's offsets.

The bytes that it gives are those of the firmware. Samples of a batch are spread over threads;
each thread has an arena of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edgeq import jit
from edgeq.errors import DataError, GraphError
from edgeq.graph import Array, Graph, Tensor
from edgeq.memory import MemoryPlan, plan_memory, scratch_name
from edgeq.ops.op import IntegerOp
from edgeq.passes.arrange import arrange
from edgeq.passes.prove_accumulators import prove_accumulators


class Interpreter:
    """Runs one integer graph; `run` may be called from one thread at a time.

    Raises:
        GraphError: the graph is not quantized, or an accumulator could overflow.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        threads: int | None = None,
        progress: jit.Progress | None = jit.report_to_stderr,
    ) -> None:
        if not graph.is_quantized:
            raise GraphError(f"{graph.name}: is a float graph; quantize it first")
        self.graph = prove_accumulators(graph)
        self.arranged = arrange(graph)  # its nodes are what runs, and what `plan` is of
        self.plan = plan_memory(self.arranged)
        self.threads = threads or os.cpu_count() or 1
        self._workers = [_Worker(self.arranged, self.plan)]
        self._compile(progress)

    def run(self, *inputs: Array) -> tuple[Array, ...]:
        """The graph's outputs; `inputs` in the order of graph.inputs.

        Each input has the shape of its tensor, with any number of samples on the first axis, or
        without that axis for one sample. Outputs have the samples on the first axis.

        Raises:
            DataError: the number, a shape or a type of the inputs does not fit.
        """
        batches = self._check(inputs)
        samples = batches[0].shape[0]
        outputs = tuple(
            np.empty((samples, *t.shape[1:]), t.dtype) for t in self.graph.output_tensors()
        )
        workers = min(self.threads, samples)
        while len(self._workers) < workers:
            self._workers.append(_Worker(self.arranged, self.plan))
        if workers == 1:
            self._workers[0].run_range(batches, outputs, 0, samples)
            return outputs
        edges = [samples * w // workers for w in range(workers + 1)]
        with ThreadPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(
                    self._workers[w].run_range, batches, outputs, edges[w], edges[w + 1]
                )
                for w in range(workers)
            ]
            for job in jobs:
                job.result()
        return outputs

    def trace(self, *inputs: Array) -> dict[str, Array]:
        """Every activation of one sample, by tensor name, copied when it was written.

        Raises:
            DataError: as `run`, or there is more than one sample.
        """
        batches = self._check(inputs)
        if batches[0].shape[0] != 1:
            raise DataError(f"trace takes one sample, got {batches[0].shape[0]}")
        values = self._workers[0].trace(batches)
        return {name: values[name] for name in self.graph.tensors if name in values}

    def _check(self, inputs: tuple[Array, ...]) -> list[Array]:
        tensors = self.graph.input_tensors()
        if len(inputs) != len(tensors):
            raise DataError(
                f"{self.graph.name}: got {len(inputs)} inputs, wants {len(tensors)}"
            )
        batches = [_as_batch(np.asarray(x), t) for x, t in zip(inputs, tensors, strict=True)]
        if len({b.shape[0] for b in batches}) != 1:
            raise DataError("inputs have different numbers of samples")
        return batches

    def _compile(self, progress: jit.Progress | None) -> None:
        calls: dict[str, Callable[[], None]] = {}
        for call in self._workers[0].calls:
            compiled = jit.kernel_of(call)
            if compiled is not None and not jit.is_compiled(compiled):
                calls.setdefault(compiled.__name__, call)
        if not calls or progress is None:
            return
        for ready, (name, call) in enumerate(calls.items()):
            progress(ready, len(calls), name)
            call()  # on an arena of zeros: only the compilation matters
        progress(len(calls), len(calls), "")


class _Worker:
    """An arena and the kernels bound to its views."""

    def __init__(self, graph: Graph, plan: MemoryPlan) -> None:
        self.graph = graph
        # Words, so that the arena's first byte is aligned.
        words = np.zeros(plan.arena_nbytes // 8 + 1, np.uint64)
        self.arena = words.view(np.uint8)[: plan.arena_nbytes]
        self.views = {
            name: self._view(tensor, plan)
            for name, tensor in graph.tensors.items()
            if tensor.data is None
        }
        self.inputs = [self.views[name] for name in graph.inputs]
        self.outputs = [self._value(name) for name in graph.outputs]
        self.calls = [self._bind(index, plan) for index in range(len(graph.nodes))]

    def _view(self, tensor: Tensor, plan: MemoryPlan) -> Array:
        offset = plan.placements[tensor.name].offset
        return (
            self.arena[offset : offset + tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)
        )

    def _value(self, name: str) -> Array:
        data = self.graph.tensors[name].data
        return self.views[name] if data is None else np.array(data)  # a copy is writable

    def _bind(self, index: int, plan: MemoryPlan) -> Callable[[], None]:
        node = self.graph.nodes[index]
        assert isinstance(node.op, IntegerOp)
        scratch = self.arena[:0]
        if (place := plan.placements.get(scratch_name(node))) is not None:
            scratch = self.arena[place.offset : place.offset + place.nbytes]
        return node.op.bind(
            tuple(self._value(name) for name in node.inputs),
            tuple(self.views[name] for name in node.outputs),
            scratch,
        )

    def run_range(
        self, batches: list[Array], outputs: tuple[Array, ...], first: int, last: int
    ) -> None:
        for sample in range(first, last):
            for view, batch in zip(self.inputs, batches, strict=True):
                view[0] = batch[sample]
            for call in self.calls:
                call()
            for output, view in zip(outputs, self.outputs, strict=True):
                output[sample] = view[0]

    def trace(self, batches: list[Array]) -> dict[str, Array]:
        values = {}
        for name, view, batch in zip(self.graph.inputs, self.inputs, batches, strict=True):
            view[0] = batch[0]
            values[name] = view.copy()
        for node, call in zip(self.graph.nodes, self.calls, strict=True):
            call()
            for name in node.outputs:
                values[name] = self.views[name].copy()
        return values


def _as_batch(x: Array, tensor: Tensor) -> Array:
    if x.dtype != tensor.dtype:
        raise DataError(f"input '{tensor.name}' is {x.dtype}, must be {tensor.dtype}")
    if x.shape == tensor.shape[1:] and x.ndim:
        x = x[np.newaxis]
    if x.shape[1:] != tensor.shape[1:] or x.ndim != len(tensor.shape) or x.shape[0] == 0:
        wanted = ", ".join(["samples", *(str(e) for e in tensor.shape[1:])])
        raise DataError(f"input '{tensor.name}' has shape {x.shape}, must be ({wanted})")
    return x
