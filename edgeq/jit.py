"""The only place that calls numba.njit: compiled kernels, cached on disk.

Numba's own disk cache does not notice an edit in a file that a kernel merely calls into, so the
cache folder is named by a digest of the sources that kernels are in: an edit, a new folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numba.extending

F = TypeVar("F", bound=Callable[..., Any])

numba_config: Any = numba.core.config
# For callbacks from C: types of arguments, arrays behind pointers, code of one's own.
types: Any = numba.types
from_dtype: Any = numba.from_dtype
carray: Any = numba.carray
intrinsic: Any = numba.extending.intrinsic

# Where kernels are, and whatever they call.
_KERNEL_SOURCES = ("jit.py", "arith_jit.py", "ops/*.py", "emulator/native*.py")

# Called with (kernels ready, kernels in all, name of the kernel that is next or "").
Progress = Callable[[int, int, str], None]


@cache
def cache_folder() -> Path:
    """Folder of compiled kernels: EDGEQ_CACHE_DIR or the user's cache, plus a source digest."""
    base = os.environ.get("EDGEQ_CACHE_DIR")
    if base is None:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        base = str(Path(home) / "edgeq")
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    package = Path(__file__).parent
    for source in sorted(p for name in _KERNEL_SOURCES for p in package.glob(name)):
        digest.update(source.relative_to(package).as_posix().encode())
        digest.update(source.read_bytes())
    return Path(base) / "kernels" / digest.hexdigest()[:16]


def kernel(function: F) -> F:
    """Compile `function` by Numba at its first call; releases the GIL; cached on disk."""
    return cast(F, _with_cache(numba.njit, function, nogil=True, error_model="numpy"))


def callback(*arguments: Any, result: Any = numba.types.void) -> Callable[[F], Any]:
    """Compile a function that C calls, with these argument types; cached on disk."""
    signature = result(*arguments)

    def compile_it(function: F, **options: Any) -> Any:
        return numba.cfunc(signature, **options)(function)

    return lambda function: _with_cache(compile_it, function)


def _with_cache(compile_it: Callable[..., Any], function: F, **options: Any) -> Any:
    previous = numba_config.CACHE_DIR
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        numba_config.CACHE_DIR = str(cache_folder())
        return compile_it(function, cache=True, **options)
    except (OSError, RuntimeError):  # no writable folder: compile anew in each process
        return compile_it(function, **options)
    finally:
        numba_config.CACHE_DIR = previous


def run_each(calls: Sequence[Callable[[], None]]) -> None:
    """Call each: for an operator whose one run is several calls of a kernel."""
    for call in calls:
        call()


def kernel_of(call: Callable[[], None]) -> Any | None:
    """The compiled kernel behind a bound call; None for plain Python."""
    if not isinstance(call, partial):
        return None
    if call.func is run_each:
        return kernel_of(call.args[0][0])
    return call.func if hasattr(call.func, "signatures") else None


def is_compiled(compiled: Any) -> bool:
    """Whether the kernel has machine code already, in this process or in the disk cache."""
    if compiled.signatures:
        return True
    function = compiled.py_func
    stem = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}-"
    return any(path.name.startswith(stem) for path in cache_folder().rglob("*.nbi"))


def report_to_stderr(ready: int, total: int, name: str) -> None:
    """Default progress of a first compilation: one line on stderr, rewritten on a terminal."""
    if sys.stderr.isatty():
        end = "\n" if ready == total else ""
        text = f"edgeq: compiling kernels, once on this machine: {ready}/{total} {name:<24}"
        sys.stderr.write(f"\r{text}{end}")
    elif ready == 0:
        sys.stderr.write(f"edgeq: compiling {total} kernels, once on this machine\n")
    sys.stderr.flush()
