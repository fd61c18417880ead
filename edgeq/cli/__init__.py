"""The command line: thin; one command, one call. Errors are one line and exit code 1."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from edgeq.cli import demo, firmware, model, profile
from edgeq.errors import EdgeqError


class ReaderGoneError(Exception):
    """Nobody reads our output any more, as when `head` has seen enough."""


class _Commands(TyperGroup):
    """The commands; a broken pipe is ours to answer (typer would exit with 1)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        return result


app = typer.Typer(
    name="edgeq",
    cls=_Commands,
    help="From a trained network to bit-exact integer firmware on a Cortex-M.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
explain = typer.Typer(help="Show the arithmetic.", no_args_is_help=True)
app.add_typer(explain, name="explain")

app.command("inspect")(model.inspect_command)
app.command("quantize")(model.quantize_command)
app.command("export")(model.export_command)
app.command("run")(model.run_command)
app.command("evaluate")(model.evaluate_command)
app.command("demo")(demo.demo_command)
app.command("boards")(firmware.boards_command)
app.command("generate")(firmware.generate_command)
app.command("build")(firmware.build_command)
app.command("emulate")(firmware.emulate_command)
app.command("stream")(firmware.stream_command)
app.command("verify")(firmware.verify_command)
app.command("profile")(profile.profile_command)
explain.command("multiplier")(model.explain_multiplier_command)


def main() -> None:
    """Run the command line; exit 1 on an EdgeqError, 130 on Ctrl-C."""
    try:
        app()
    except EdgeqError as error:
        sys.stdout.flush()
        print(f"edgeq: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except ReaderGoneError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
