"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, which stays as it was if that fails half way.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a folder, a pipe, /dev/stdout
        path.write_bytes(data)
        return
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
