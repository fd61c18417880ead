"""Turn a flat image into UF2, the format that the RP2040's USB drive takes.

Stands alone: a generated project has a copy and calls `make_uf2.py firmware.bin firmware.uf2`.
Format: github.com/microsoft/uf2, "UF2 file format"; boot ROM's demands: RP2040 Datasheet,
USB mass storage.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

MAGIC_START = (0x0A324655, 0x9E5D5157)
MAGIC_END = 0x0AB16F30
FLAG_FAMILY = 0x00002000
FAMILY_RP2040 = 0xE48BFF56
FLASH_ORIGIN = 0x10000000
PAYLOAD_NBYTES = 256


def uf2(image: bytes, origin: int = FLASH_ORIGIN, family: int = FAMILY_RP2040) -> bytes:
    """The UF2 file of an image that lies at `origin`: blocks of 512 bytes, 256 of them data."""
    count = -(-len(image) // PAYLOAD_NBYTES)
    blocks = []
    for number in range(count):
        at = number * PAYLOAD_NBYTES
        head = struct.pack(
            "<8I",
            *MAGIC_START,
            FLAG_FAMILY,
            origin + at,
            PAYLOAD_NBYTES,
            number,
            count,
            family,
        )
        data = image[at : at + PAYLOAD_NBYTES].ljust(476, b"\0")
        blocks.append(head + data + struct.pack("<I", MAGIC_END))
    return b"".join(blocks)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("use: make_uf2.py firmware.bin firmware.uf2")
    Path(sys.argv[2]).write_bytes(uf2(Path(sys.argv[1]).read_bytes()))
