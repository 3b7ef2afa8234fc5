"""The entry point: verbs, and what becomes of an error.

Exit status, the same in every verb:

    0   all expectations met
    1   internal error
    2   wrong usage, or a profile that cannot be used
    3   phones failed, or an expectation was not met
    4   the run is not valid: the tester was the bottleneck, or it was interrupted

Only `bootstrap --check` has those of monitoring plugins instead.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from typing import Annotated

import typer

from phonesim.cli.terminal import drop_output, show_error, show_text
from phonesim.errors import PhonesimError, UsageError

INTERNAL_ERROR = 1
WRONG_USAGE = 2
INTERRUPTED = 4
KEYBOARD_INTERRUPT = 130
"""What typer makes of a KeyboardInterrupt."""

EXIT_STATUSES = (
    "Exit status: 0 all expectations met; 1 internal error; 2 wrong usage or profile;"
    " 3 phones failed or an expectation was not met; 4 the run is not valid."
)

VERBS = (
    "run",
    "site",
    "reproduce",
    "diagnose",
    "bootstrap",
    "dhcputil",
    "logs",
    "profiles",
    "doctor",
)


def program(verbs: Sequence[str]) -> typer.Typer:
    """The program with these verbs, and what they import: nobody waits for that of others."""
    app = typer.Typer(
        name="phonesim",
        help="Boot a fleet of emulated Lync Phone Edition desk phones.",
        epilog=EXIT_STATUSES,
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(phonesim)
    for verb in verbs:
        module = import_module(f"phonesim.cli.{verb}_verb")
        match verb:
            case "dhcputil" | "logs" | "profiles":
                app.add_typer(module.app, name=verb)
            case "run" | "reproduce" | "diagnose" | "bootstrap":
                app.command(verb, epilog=EXIT_STATUSES)(module.command)
            case _:
                app.command(verb)(module.command)
    return app


def phonesim(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Boot a fleet of emulated Lync Phone Edition desk phones."""
    if version:
        show_text(f"phonesim {_version()}")
    elif context.invoked_subcommand is None:
        show_text(context.get_help())


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; return the exit status."""
    is_debug = "--debug" in arguments
    try:
        status = program(_verbs_of(arguments))(
            [argument for argument in arguments if argument != "--debug"],
            prog_name="phonesim",
            standalone_mode=False,
        )
    except typer.TyperException as error:
        show_error(f"{error.format_message()} (see --help)")
        return WRONG_USAGE
    except typer.Abort:
        show_error("nothing done")
        return WRONG_USAGE
    except KeyboardInterrupt:
        status = KEYBOARD_INTERRUPT
    except BrokenPipeError:
        drop_output(sys.stdout)
        return 0
    except PhonesimError as error:
        _show(error, is_debug)
        return WRONG_USAGE if isinstance(error, UsageError) else INTERNAL_ERROR
    except Exception as error:
        # The help is printed by the library, past our own printing.
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            drop_output(sys.stdout)
            show_error(f"standard output cannot be written: {error.strerror}")
            return WRONG_USAGE
        what = f"internal error: {type(error).__name__}: {error}"
        show_error(what if is_debug else f"{what} (run it again with --debug)")
        if is_debug:
            traceback.print_exc()
        return INTERNAL_ERROR
    if status == KEYBOARD_INTERRUPT:
        show_error("interrupted")
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _verbs_of(arguments: Sequence[str]) -> Sequence[str]:
    """The verb that is asked for; all of them if none is, or none of that name."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    return words[:1] if words and words[0] in VERBS else VERBS


def _show(error: Exception, is_debug: bool) -> None:
    show_error(str(error))
    if is_debug:
        traceback.print_exception(error)


def _version() -> str:
    try:
        return distribution_version("phonesim")
    except PackageNotFoundError:
        return "(not installed)"
