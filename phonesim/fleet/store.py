"""The run store: what a run recorded, as files of its run folder.

`summary.json` is the summary (see `phonesim.results.summarize`). `run.db` is SQLite: the same,
and what became of every phone, for questions that a summary does not answer:

    SELECT outcome, count(*) FROM phones GROUP BY outcome;
    SELECT number, duration_ms FROM stages JOIN phones USING (phone_id)
     WHERE stage = 'register' ORDER BY duration_ms DESC LIMIT 10;

Both are written beside their place and renamed into it: whoever reads them reads them whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from phonesim.errors import UsageError
from phonesim.results import PhoneRecord, Recorder

SUMMARY_NAME = "summary.json"
DATABASE_NAME = "run.db"

SCHEMA = """
PRAGMA user_version = 2;
CREATE TABLE run (             -- one row
    run TEXT PRIMARY KEY,      -- name of the run folder
    fleet TEXT NOT NULL,
    site TEXT NOT NULL,        -- 'none' for servers that were already there
    attach TEXT NOT NULL,      -- loopback, wire, virtual or relay
    seed INTEGER NOT NULL,
    phones INTEGER NOT NULL,
    signed_in INTEGER NOT NULL,
    completed INTEGER NOT NULL, -- done: they were to do the first stages only
    failed INTEGER NOT NULL,
    registrations_lost INTEGER NOT NULL,
    world_s REAL NOT NULL,     -- seconds in the run's own world: virtual or real
    wall_s REAL NOT NULL,
    cpu_s REAL NOT NULL,
    peak_rss_mb REAL NOT NULL,
    valid INTEGER NOT NULL,    -- 0: the tester was the bottleneck, or it was interrupted
    summary TEXT NOT NULL      -- summary.json
) STRICT;
CREATE TABLE phones (          -- one row a phone: what its last boot came to
    phone_id TEXT PRIMARY KEY, -- MAC, as 00-04-F2-00-00-01
    number TEXT NOT NULL,
    device TEXT NOT NULL,      -- name of the device profile
    outcome TEXT NOT NULL,     -- signed-in, done, or failed:<reason>
    failed_stage TEXT,
    detail TEXT NOT NULL,
    sip_uri TEXT NOT NULL,
    registrar TEXT NOT NULL,
    display TEXT NOT NULL,     -- what the phone showed last
    boots INTEGER NOT NULL,
    settled_ms REAL,           -- from power to signed in, done or failed; NULL if none of them
    late_ms REAL,              -- from its time in the plan to its first power; NULL if never
    giaddr TEXT NOT NULL       -- its relay agent's address; '' without one
) STRICT;
CREATE TABLE stages (          -- stages of each phone's last boot that ended well
    phone_id TEXT NOT NULL REFERENCES phones,
    stage TEXT NOT NULL,
    duration_ms REAL NOT NULL,
    PRIMARY KEY (phone_id, stage)
) STRICT, WITHOUT ROWID;
CREATE TABLE exchanges (       -- one row a kind, over the whole run
    kind TEXT PRIMARY KEY,     -- dhcp_discover, dns, http, sip_register, ...
    sent INTEGER NOT NULL,     -- packets, retransmissions included
    retransmitted INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    p50_ms REAL, p90_ms REAL, p99_ms REAL, max_ms REAL,
    per_second REAL            -- answered, from the first start to the last answer
) STRICT;
CREATE TABLE servers (         -- one row a kind of exchange and server, DNS and DHCP
    kind TEXT NOT NULL,
    server TEXT NOT NULL,      -- its address
    sent INTEGER,              -- requests to it; NULL for DHCP, which asks every server
    answered INTEGER NOT NULL, -- of DHCP only what was waited for
    timed_out INTEGER,
    p50_ms REAL, p90_ms REAL, p99_ms REAL, max_ms REAL, -- from each request to its answer
    PRIMARY KEY (kind, server)
) STRICT, WITHOUT ROWID;
CREATE TABLE server_answers (  -- what they answered: DNS rcodes, TC if truncated; DHCP types
    kind TEXT NOT NULL,
    server TEXT NOT NULL,
    answer TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, server, answer)
) STRICT, WITHOUT ROWID;
"""


def save_run(folder: Path, recorder: Recorder, summary: dict[str, Any], world_s: float) -> None:
    """Write `run.db` and `summary.json`; `UsageError` if the folder cannot be written."""
    text = json.dumps(summary, indent=2) + "\n"
    with _readable_errors(folder):
        _replace(folder / DATABASE_NAME, lambda path: _database(path, recorder, summary, world_s))
        _replace(folder / SUMMARY_NAME, lambda path: _durable(path, text))


def read_outcomes(folder: Path) -> dict[str, str]:
    """Return the outcome of every phone of a run that is over, by phone; none of another."""
    path = folder / DATABASE_NAME
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as database:
            return dict(database.execute("SELECT phone_id, outcome FROM phones"))
    except sqlite3.Error:
        return {}


def _database(path: Path, recorder: Recorder, summary: dict[str, Any], world_s: float) -> None:
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.executescript(SCHEMA)
        database.execute("BEGIN")
        database.execute(
            "INSERT INTO run VALUES (:run, :fleet, :site, :attach, :seed, :phones, :signed_in,"
            " :completed, :failed, :registrations_lost, :world_s, :wall_s, :cpu_s, :peak_rss_mb,"
            " :valid, :summary)",
            {
                **{
                    key: value
                    for key, value in summary.items()
                    if not isinstance(value, dict | list)
                },
                "world_s": round(world_s, 6),
                "summary": json.dumps(summary),
            },
        )
        database.executemany(
            "INSERT INTO phones VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_phone_row(phone) for phone in recorder.phones.values()),
        )
        database.executemany(
            "INSERT INTO stages VALUES (?, ?, ?)",
            (
                (phone.phone_id, stage.value, round(seconds * 1000, 3))
                for phone in recorder.phones.values()
                for stage, seconds in phone.durations.items()
            ),
        )
        database.executemany(
            "INSERT INTO exchanges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((kind, *totals.values()) for kind, totals in summary["exchanges"].items()),
        )
        servers = [
            (kind, server, totals)
            for kind, found in summary["servers"].items()
            for server, totals in found.items()
        ]
        database.executemany(
            "INSERT INTO servers VALUES (:kind, :server, :sent, :answered, :timed_out,"
            " :p50_ms, :p90_ms, :p99_ms, :max_ms)",
            (
                {"kind": kind, "server": server, **totals, "answers": None}
                for kind, server, totals in servers
            ),
        )
        database.executemany(
            "INSERT INTO server_answers VALUES (?, ?, ?, ?)",
            (
                (kind, server, answer, count)
                for kind, server, totals in servers
                for answer, count in totals["answers"].items()
            ),
        )
        database.execute("COMMIT")


def _phone_row(phone: PhoneRecord) -> tuple[object, ...]:
    return (
        phone.phone_id,
        phone.number,
        phone.device,
        phone.outcome,
        phone.failed_stage and phone.failed_stage.value,
        phone.explanation,
        phone.sip_uri,
        phone.registrar,
        phone.display,
        phone.boots,
        _milliseconds(phone.settled_after),
        _milliseconds(phone.late),
        phone.giaddr,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _durable(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    try:
        write(fresh)
        fresh.replace(path)
    except BaseException:  # an interruption leaves nothing half written either
        fresh.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _readable_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{folder}: the results cannot be written: {why}") from None
