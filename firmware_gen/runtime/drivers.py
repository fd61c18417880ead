"""The drivers of the device side: which C files a board's kinds stand for, and what they need.

One entry a kind; a new UART kind is one C file and one line here. Settings come from the
board's file and reach C as macros of edgeq_board.h: EDGEQ_UART_<NAME>, EDGEQ_CLOCK_<NAME>,
EDGEQ_TICKS_<NAME>.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from edgeq.board import Board
from edgeq.errors import BoardError
from firmware_gen import c_text
from firmware_gen.cores import core_of


@dataclass(frozen=True, slots=True)
class Driver:
    """C files beside this module; settings that the board must give, and those that it may."""

    files: tuple[str, ...]
    settings: tuple[str, ...] = ()
    optional: Mapping[str, int] = field(
        default_factory=dict
    )  # name -> value if the board gives none
    has_early_init: bool = False  # edgeq_early_init: what an erratum wants before ram is read


# An STM32's UART pins: one GPIO port for both, its base address, the number of the alternate
# function, and where RCC enables the port and the UART (register offset, bit).
_STM32_PINS = (
    "gpio_base",
    "tx_pin",
    "rx_pin",
    "alternate_function",
    "rcc_base",
    "rcc_gpio_offset",
    "rcc_gpio_bit",
    "rcc_uart_offset",
    "rcc_uart_bit",
)

CLOCKS = MappingProxyType(
    {
        "reset": Driver(("clock_reset.c",)),
        "lm3s6965": Driver(("clock_lm3s6965.c",)),
        "nrf51": Driver(("clock_nrf51.c",)),
        "nrf52": Driver(("clock_nrf52.c",)),
        "rp2040": Driver(("clock_rp2040.c", "boot2_rp2040.c")),
        "stm32f4": Driver(
            ("clock_stm32f4.c",),
            settings=("hse_hz", "pll_input_hz"),
            optional={"hse_bypass": 0, "overdrive": 0, "prefetch": 1},
        ),
        "stm32g0": Driver(("clock_stm32g0.c",)),
        "stm32h7": Driver(
            ("clock_stm32h7.c",),
            settings=("hse_hz",),
            optional={"hse_bypass": 0},
            has_early_init=True,
        ),
        "stm32l4": Driver(("clock_stm32l4.c",)),
    }
)

UARTS = MappingProxyType(
    {
        "cmsdk": Driver(("uart_cmsdk.c",)),
        "nrf": Driver(("uart_nrf.c",), settings=("tx_pin", "rx_pin")),
        "pl011": Driver(("uart_pl011.c",)),
        "stm32_v1": Driver(("uart_stm32_v1.c",), settings=_STM32_PINS),
        "stm32_v2": Driver(
            ("uart_stm32_v2.c",), settings=_STM32_PINS, optional={"divider_scale": 1}
        ),
    }
)

TICKS = MappingProxyType(
    {
        "systick": Driver(("ticks_systick.c",)),
        "nrf_timer": Driver(("ticks_nrf_timer.c",), settings=("base", "irq")),
    }
)

# What every firmware has besides its drivers.
COMMON = ("startup.c", "platform.c", "mem.c")
HEADERS = ("edgeq_platform.h", "edgeq_drivers.h", "stm32_pins.h")


def runtime_folder() -> Path:
    """Where the C sources are."""
    return Path(__file__).parent


def driver(board: Board, part: str, table: Mapping[str, Driver], kind: str) -> Driver:
    """The entry of a kind.

    Raises:
        BoardError: there is no such kind (names the nearest).
    """
    if kind not in table:
        near = difflib.get_close_matches(kind, table, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BoardError(
            f"{board.name}: {part}: unknown kind '{kind}'{hint} (known: {', '.join(table)})"
        )
    return table[kind]


def runtime_sources(board: Board) -> list[Path]:
    """The C files of a board's startup and drivers, in a fixed order, each once.

    Raises:
        BoardError: a kind is unknown.
    """
    names = [*COMMON]
    for _, entry, _ in _parts(board):
        names += [name for name in entry.files if name not in names]
    return [runtime_folder() / name for name in names]


def board_header(board: Board, has_copies: bool = False) -> str:
    """The text of edgeq_board.h: the board's figures as macros, and whether start-up copies
    constants of layers into rams.

    Raises:
        BoardError: a kind is unknown, or a setting is missing or unknown.
    """
    core = core_of(board)
    body = c_text.define("EDGEQ_BOARD_NAME", c_text.string_literal(board.name))
    body += c_text.define("EDGEQ_CORE_HZ", c_text.integer(board.clock.core_hz, "uint32_t"))
    for name, has in (
        ("VTOR", core.has_vtor),
        ("FAULT_STATUS", core.has_fault_status),
        ("MSPLIM", core.has_msplim),
        ("CACHES", core.has_caches),
    ):
        body += c_text.define(f"EDGEQ_CORE_HAS_{name}", str(int(has)))
    body += c_text.define("EDGEQ_HAS_COPIES", str(int(has_copies)))
    has_early_init = any(entry.has_early_init for _, entry, _ in _parts(board))
    body += c_text.define("EDGEQ_HAS_EARLY_INIT", str(int(has_early_init)))
    body += c_text.define("EDGEQ_UART_BASE", c_text.address(board.uart.base))
    body += c_text.define(
        "EDGEQ_UART_CLOCK_HZ", c_text.integer(board.uart.clock_hz, "uint32_t")
    )
    body += c_text.define("EDGEQ_UART_BAUD", c_text.integer(board.uart.baud, "uint32_t"))
    for part, entry, given in _parts(board):
        settings = checked_settings(f"{board.name}: {part}.settings", entry, given)
        for name, value in settings.items():
            body += c_text.define(f"EDGEQ_{part}_{name}".upper(), c_text.address(value))
    return c_text.header("edgeq_board.h", body, f"The figures of the board {board.name}.")


def checked_settings(where: str, entry: Driver, given: Mapping[str, int]) -> dict[str, int]:
    """All settings of a driver, with defaults, in the driver's order.

    Raises:
        BoardError: one is missing, unknown, negative or above 32 bits.
    """
    known = [*entry.settings, *entry.optional]
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise BoardError(f"{where}: unknown setting '{name}'{hint}")
        if not 0 <= value <= 0xFFFFFFFF:
            raise BoardError(f"{where}: {name} is {value}, must be within 0 .. 2**32 - 1")
    missing = [name for name in entry.settings if name not in given]
    if missing:
        raise BoardError(f"{where}: missing {', '.join(missing)}")
    return {name: given.get(name, entry.optional.get(name, 0)) for name in known}


def _parts(board: Board) -> list[tuple[str, Driver, Mapping[str, int]]]:
    ticks = board.ticks
    return [
        ("clock", driver(board, "clock", CLOCKS, board.clock.kind), board.clock.settings),
        ("uart", driver(board, "uart", UARTS, board.uart.kind), board.uart.settings),
        ("ticks", driver(board, "ticks", TICKS, ticks.kind), ticks.settings),
    ]
