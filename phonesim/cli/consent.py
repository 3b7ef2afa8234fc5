"""Asking a person before packets reach a real network."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from phonesim.cli.terminal import tell
from phonesim.errors import UsageError
from phonesim.fleet.live_safety import describe_impact, needs_consent
from phonesim.fleet.plan import Plan
from phonesim.fleet.worlds import check_machine


def ask_consent(plan: Plan, again: str, *, is_agreed: bool) -> None:
    """Ask whether a plan may be run, unless it stays on this machine or was agreed to.

    `again` says how it is repeated, if it is. `UsageError` if the machine cannot run it, or if
    the answer is no.
    """
    if not needs_consent(plan):
        return
    check_machine(plan)
    again_line = [f"  repeated  {again}"] if again else []
    ask_before_sending([*describe_impact(plan), *again_line], is_agreed=is_agreed)


def ask_before_sending(impact: Sequence[str], *, is_agreed: bool) -> None:
    """Say what is about to be sent, and ask, unless it was agreed to; `UsageError` if not."""
    tell(*impact)
    if is_agreed:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "this sends packets on a real network: say --yes to agree without a terminal"
        )
    if not typer.confirm("Go ahead?", err=True):
        raise UsageError("nothing was sent")
