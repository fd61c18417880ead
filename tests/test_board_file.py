"""Board files: each is read, and what is wrong in one is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.board import board_names, boards_folder, load_board, read_board
from edgeq.errors import BoardError
from firmware_gen.runtime.drivers import board_header

GOOD = (boards_folder() / "mps2_an386.toml").read_text(encoding="utf-8")


def read(tmp_path: Path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_board(path)


@pytest.mark.parametrize("name", board_names())
def test_every_board_file_is_right_and_names_its_sources(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert len(set(board.sources)) == len(board.sources) >= 2
    assert board_header(board).count("#define EDGEQ_CORE_HZ") == 1


def test_all_boards_of_the_plan_are_there() -> None:
    assert set(board_names()) >= {
        "lm3s6965evb",
        "microbit",
        "mps2_an385",
        "mps2_an386",
        "mps2_an500",
        "mps2_an505",
        "mps3_an547",
        "netduinoplus2",
        "nrf52840dk",
        "nucleo_f446re",
        "nucleo_g0b1re",
        "nucleo_h743zi",
        "nucleo_l4r5zi",
        "raspberry_pi_pico",
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("nucleo_l4r5", "nucleo_l4r5zi"),
        ("MPS2-AN386", "mps2_an386"),
        ("pi_pico", "raspberry_pi_pico"),
    ],
)
def test_an_unknown_board_gets_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(BoardError, match=f"unknown board '{name}'; nearest: {nearest} "):
        load_board(name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('mcu = "AN386"', 'mcu_ = "AN386"', r"unknown key 'mcu_'; did you mean 'mcu'\?"),
        ('mcu = "AN386"', "", "missing key 'mcu'"),
        ('mcu = "AN386"', "mcu = 3", "mcu: is 3, must be a text"),
        ("core_hz = 25_000_000", "", "clock: missing key 'core_hz'"),
        ("core_hz = 25_000_000", "core_hz = 2.5e7", "core_hz: is 25000000.0, must be a whole"),
        ("core_hz = 25_000_000", "core_hz = true", "core_hz: is True, must be a whole number"),
        ("core_hz = 25_000_000", "core_hz = 0", "core_hz is 0, must be within"),
        ("core_hz = 25_000_000", "core_hz = -1", "core_hz: is -1, must be a whole number >= 0"),
        ("baud = 115_200", "baud = 115_200\nspeed = 1", "uart: unknown key 'speed'"),
        ("baud = 115_200", "baud = 50_000_000", "clock_hz is 25000000, must be above the baud"),
        ('core = "cortex-m4"', 'core = "cortex-m5"', "core is 'cortex-m5', must be one of"),
        (
            'kind = "ram"',
            'kind = "rom"',
            r"memories\[1\]: kind: is 'rom', must be one of flash",
        ),
        ('kind = "ram"', 'kind = "flash"', "no memory of kind 'ram'"),
        ("origin = 0x20000000", "origin = 0x100", "'ssram1' and 'ssram23' overlap"),
        ("nbytes = 0x400000 },\n]", "nbytes = 0 },\n]", "'ssram23' is 0 bytes"),
        ("0x20000000,", "0x20000000, read_nbytes = 0,", "'ssram23': read_nbytes is 0, must"),
        ("0x20000000,", "0x20000000, wait_states = -1,", "wait_states: is -1, must be a whole"),
        ("origin = 0x20000000", "origin = 0xffffffff", "must have some and end within 32 bits"),
        ("sources = [", "sources = [3, ", "must be a list of texts"),
        ('[uart]\nkind = "cmsdk"', "[uart]\nkind = 1", "uart: kind: is 1, must be a text"),
        ("title =", "title", "cannot read the board file"),
    ],
)
def test_a_fault_in_a_board_file_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(BoardError, match=message) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert str(tmp_path / "mine.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"cmsdk"', '"cmsdc"', r"uart: unknown kind 'cmsdc'; did you mean 'cmsdk'\?"),
        ('"reset"', '"stm32f4"', "clock.settings: missing hse_hz, pll_input_hz"),
        (
            "baud = 115_200",
            "baud = 115_200\nsettings = { pin = 3 }",
            "uart.settings: unknown setting 'pin'",
        ),
        (
            'kind = "cmsdk"',
            'kind = "nrf"\nsettings = { tx_pin = 1, rxpin = 2 }',
            r"unknown setting 'rxpin'; did you mean 'rx_pin'\?",
        ),
        (
            'kind = "cmsdk"',
            'kind = "nrf"\nsettings = { tx_pin = -1, rx_pin = 2 }',
            "tx_pin is -1, must be within",
        ),
        ("[clock]", '[ticks]\nkind = "clock"\n\n[clock]', "ticks: unknown kind 'clock'"),
    ],
)
def test_a_wrong_driver_or_setting_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    board = read(tmp_path, GOOD.replace(old, new))
    with pytest.raises(BoardError, match=message):
        board_header(board)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"none\.toml: cannot read the board file"):
        load_board(str(tmp_path / "none.toml"))
