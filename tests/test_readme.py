"""The README's tables are those that the code and the board files give."""

from __future__ import annotations

import importlib.util
import re

import pytest
from conftest import ROOT

from edgeq.cli import app


def test_the_tables_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location(
        "update_readme", ROOT / "tools/update_readme.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == tool.with_tables(text), "run: python tools/update_readme.py"


@pytest.mark.parametrize(
    "document",
    ["README.md", "docs/architecture.md", "docs/numerics.md", "docs/profile.md"],
)
def test_every_command_and_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    commands = {command.name for command in app.registered_commands} | {"explain"}
    named = set(re.findall(r"`?edgeq ([a-z]+) ", text)) - {"is", "takes"}
    assert named <= commands, named - commands
    for path in re.findall(r"`((?:edgeq|firmware_gen|tests|boards|docs)/[\w/.]+)", text):
        assert (ROOT / path.rstrip("/.")).exists() or "/x." in path, path
