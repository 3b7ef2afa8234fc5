"""A run's end for a person: stages, failures, exchanges, and where the logs are."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table

from phonesim.fleet.runner import Finished
from phonesim.results import PhoneRecord

_DURATIONS = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
_LATE_MS = 100
_SERVER_COUNTS = ("sent", "timed_out")
_GOOD_ANSWERS = {"NOERROR", "NXDOMAIN", "OFFER", "ACK"}
_RELAYS_SHOWN = 20
_SILENCE = {"dhcp_discover": ": a server whose pool is used up is silent, too"}
"""Why some requests of a kind may have no answer where others have one."""


def summary_tables(finished: Finished) -> list[RenderableType]:
    """Return what is printed when a run is over."""
    summary = finished.summary
    stages = finished.stages
    if stages is None:
        ended = f"{summary['signed_in']} of {summary['phones']} phones signed in"
    else:
        ended = f"{summary['completed']} of {summary['phones']} phones done: {', '.join(stages)}"
    parts: list[RenderableType] = [
        f"{ended}, {summary['failed']} failed ({summary['attach']}, site {summary['site']},"
        f" seed {summary['seed']}, {_world_time(finished)})",
    ]
    if summary["faults"]:
        parts.append(f"Faults: {', '.join(summary['faults'])}")
    for vlan_id, phones in summary["vlans"].items():
        parts.append(f"Voice VLAN {vlan_id}: {phones} of {summary['phones']} phones")
    if "monkey" in summary:
        parts += ["", *_monkey(summary)]
    parts += ["", _stages(finished)]
    if summary["exchanges"]:
        parts += ["", _exchanges(summary, shows_rate=stages is not None)]
    servers = _servers(summary)
    if servers is not None:
        parts += ["", servers]
    parts += _partly_unanswered(summary)
    if summary["failures"]:
        parts += ["", _failures(finished)]
    if any(relay["failed"] for relay in summary["relays"].values()):
        parts += ["", *_relays(summary["relays"])]
    parts.append("")
    if summary["registrations_lost"] or summary["registrations_returned"]:
        parts.append(
            f"Registrations lost on the way: {summary['registrations_lost']}"
            f" (regained {summary['registrations_regained']},"
            f" failed over {summary['registrations_failed_over']},"
            f" returned {summary['registrations_returned']})"
        )
    if (finished.recorder.lateness.durations()["max_ms"] or 0) >= _LATE_MS:
        late = _durations(finished.recorder.lateness.durations())
        parts.append("Phones started late: p50 {}, p90 {}, p99 {}, max {}".format(*late))
    parts += [f"Note: {note}" for note in summary["notes"]]
    if not summary["valid"]:
        parts.append("This run is NOT VALID: its figures say nothing about the site.")
    parts += _where_next(finished)
    return parts


def milliseconds(value: float | None) -> str:
    """Return a duration with three digits or more, or a dash for none."""
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def _world_time(finished: Finished) -> str:
    wall = finished.summary["wall_s"]
    if finished.summary["attach"] == "virtual":
        return f"{finished.world_s:.1f} s of virtual time in {wall:.1f} s"
    return f"{wall:.1f} s"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def _stages(finished: Finished) -> Table:
    table = _table("stage", "ended", "failed", "p50", "p90", "p99", "max")
    for stage, totals in finished.summary["stages"].items():
        table.add_row(stage, str(totals["count"]), str(totals["failed"]), *_durations(totals))
    boots = finished.recorder.boots
    total = "whole boot" if finished.stages is None else "all of it"
    table.add_row(total, str(boots.count), str(boots.failed), *_durations(boots.durations()))
    return table


def _exchanges(summary: dict[str, Any], *, shows_rate: bool) -> Table:
    rate = ("a second",) if shows_rate else ()
    table = _table("exchange", "sent", "again", "answered", *rate, "p50", "p90", "p99", "max")
    for kind, totals in summary["exchanges"].items():
        counts = [str(totals[key]) for key in ("sent", "retransmitted", "answered")]
        if shows_rate:
            answered = totals["per_second"]
            counts.append("-" if answered is None else f"{answered:.1f}")
        table.add_row(kind, *counts, *_durations(totals))
    return table


def _servers(summary: dict[str, Any]) -> Table | None:
    """Say what each server did, where there were several or one did not do well."""
    table = _table("server", "of", "sent", "timed out", "p50", "p90", "p99", "max", "answers")
    table.columns[1].justify = table.columns[-1].justify = "left"
    for kind, servers in summary["servers"].items():
        if len(servers) == 1 and all(map(_did_well, servers.values())):
            continue
        for server, totals in servers.items():
            counts = ["-" if totals[key] is None else str(totals[key]) for key in _SERVER_COUNTS]
            answers = ", ".join(f"{count} {what}" for what, count in totals["answers"].items())
            table.add_row(server, kind, *counts, *_durations(totals), answers or "none")
    return table if table.rows else None


def _partly_unanswered(summary: dict[str, Any]) -> list[str]:
    """Say of DHCP, which asks every server, who answered while other requests had no answer."""
    lines = []
    for kind, servers in summary["servers"].items():
        totals = summary["exchanges"][kind]
        unanswered = totals["sent"] - totals["retransmitted"] - totals["answered"]
        if unanswered and kind.startswith("dhcp_"):
            answered = " and ".join(
                f"{who} answered {did['answered']}" for who, did in servers.items()
            )
            lines.append(
                f"{kind}: {answered}, and {unanswered} had no answer{_SILENCE.get(kind, '')}"
            )
    return ["", *lines] if lines else []


def _did_well(totals: dict[str, Any]) -> bool:
    return not totals["timed_out"] and _GOOD_ANSWERS.issuperset(totals["answers"])


def _failures(finished: Finished) -> Table:
    examples: dict[str, PhoneRecord] = {}
    for phone in finished.recorder.phones.values():
        reason = phone.outcome.removeprefix("failed:")
        # One that started tells more than one that did not.
        if reason not in examples or (phone.boots and not examples[reason].boots):
            examples[reason] = phone
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("failure")
    table.add_column("phones", justify="right")
    table.add_column("at stage")
    table.add_column("for example")
    table.add_column("detail", overflow="fold")
    for reason, count in finished.summary["failures"].items():
        phone = examples[reason]
        stage = phone.failed_stage or phone.stage
        table.add_row(
            reason, str(count), stage.value if stage else "-", phone.phone_id, phone.explanation
        )
    return table


def _relays(relays: dict[str, Any]) -> list[RenderableType]:
    """The relay agents behind which phones failed, those with most failures first."""
    worst = sorted(
        ((giaddr, totals) for giaddr, totals in relays.items() if totals["failed"]),
        key=lambda item: -item[1]["failed"],
    )
    table = _table("giaddr", "phones", "done", "failed")
    table.add_column("link")
    table.add_column("failures", overflow="fold")
    for giaddr, totals in worst[:_RELAYS_SHOWN]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in totals["failures"].items())
        counts = [str(totals[key]) for key in ("phones", "done", "failed")]
        table.add_row(giaddr, *counts, totals["link"], reasons)
    if len(worst) > _RELAYS_SHOWN:
        rest = f"and {len(worst) - _RELAYS_SHOWN} more giaddrs with failures: see summary.json"
    elif len(worst) < len(relays):
        rest = f"all phones behind the other {len(relays) - len(worst)} giaddrs ended well"
    else:
        rest = "no giaddr is without failures"
    return [table, rest]


def _monkey(summary: dict[str, Any]) -> list[RenderableType]:
    """What the monkey did when, and how many phones are back."""
    monkey = summary["monkey"]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in ("server", "random fault"):
        table.add_column(heading)
    for heading in ("from", "to"):
        table.add_column(heading, justify="right")
    for fault in monkey["faults"]:
        ends_at = "not over" if fault["ends_at"] is None else f"{fault['ends_at']:.1f} s"
        table.add_row(fault["server"], fault["fault"], f"{fault['begins_at']:.1f} s", ends_at)
    cut_at = monkey["interrupted_at"]
    if cut_at is None:
        back = f"{summary['signed_in']} of {summary['phones']} phones are registered"
        return [table, f"{monkey['grace']:.0f} s after the last of it {back}"]
    if cut_at < monkey["span"]:
        missed = f"the faults were over (planned until {monkey['span']:.0f} s)"
    else:
        missed = f"phones had their {monkey['grace']:.0f} s to come back"
    return [
        *([table] if monkey["faults"] else []),
        f"Interrupted at {cut_at:.1f} s, before {missed}: nobody knows who would have come back",
    ]


def _durations(totals: dict[str, Any]) -> tuple[str, ...]:
    return tuple(milliseconds(totals[key]) for key in _DURATIONS)


def _where_next(finished: Finished) -> list[str]:
    phones = finished.recorder.phones.values()
    if not any(phone.boots for phone in phones):
        return [f"Results: {finished.folder}"]
    shown = next(
        (phone for phone in phones if phone.outcome.startswith("failed") and phone.boots), None
    )
    if shown is None and finished.device_logs == "failed":
        return [
            f"Results: {finished.folder}",
            "No boot failed, so no phone's log was kept (fleet.device_logs=all keeps them)",
        ]
    phone = shown or next(iter(phones))
    base = "" if finished.folder.parent.name == "logs" else f" --out {finished.folder.parent}"
    return [
        f"Results: {finished.folder}",
        f"A phone's log: phonesim logs cat {phone.phone_id} --run {finished.folder.name}{base}",
    ]
