"""Shared fixtures: where the real models and data are, and what to say when they are not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from firmware_matrix import Images
from hypothesis import settings

if TYPE_CHECKING:
    from cli import CommandLine

# A first call compiles, and machines are loaded: no example fails for the time it took.
settings.register_profile("edgeq", deadline=None)
settings.load_profile("edgeq")

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("EDGEQ_SHARED", ROOT.parent / "shared"))

MODELS = {
    "kws": "kws_ref_model.tflite",
    "ic": "pretrainedResnet_quant.tflite",
    "vww": "vww_96_int8.tflite",
    "ad": "ad01_int8.tflite",
    "hello_world": "hello_world_int8.tflite",
    "kws_float": "kws_ref_model_float32.tflite",
    "ic_float": "pretrainedResnet.tflite",
    "vww_float": "vww_96_float.tflite",
    "ad_float": "ad01_fp32.tflite",
    "hello_world_float": "hello_world_float.tflite",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the snapshots in tests/golden"
    )


def _shared(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"the real models and data are not there: {path} (set EDGEQ_SHARED)")
    return path


@pytest.fixture(scope="session")
def model_path():
    """name -> path of a real model; skips the test when the file is not there."""
    return lambda name: _shared(SHARED / "models" / MODELS[name])


@pytest.fixture(scope="session")
def data_path():
    """name -> path of a real data set; skips the test when the file is not there."""
    return lambda name: _shared(SHARED / "data" / f"{name}.npz")


@pytest.fixture(scope="session")
def images(tmp_path_factory, model_path, data_path) -> Images:
    """Firmware of networks for targets by compilers, each image built once a process."""
    return Images(tmp_path_factory.mktemp("images"), model_path, data_path)


@pytest.fixture(scope="session")
def cli_files(tmp_path_factory) -> Path:
    """The folder of the files that the command line's tests name."""
    from cli import make_files  # needs the wheel tflite-micro, which few tests do

    return make_files(tmp_path_factory.mktemp("cli"))


@pytest.fixture
def edgeq_command(cli_files, tmp_path, monkeypatch, capsys) -> CommandLine:
    """`edgeq` in a folder of its own that has the files."""
    from cli import CommandLine

    shutil.copytree(cli_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)
