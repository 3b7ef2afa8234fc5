from __future__ import annotations

import os
from pathlib import Path

from phonesim.field.evidence_files import NotRead, Source, evidence_in


def read_in(*paths: Path) -> list[tuple[str, ...]]:
    return [
        tuple(file.name for file in each.files)
        for each in evidence_in(paths)
        if isinstance(each, Source)
    ]


def not_read_in(*paths: Path) -> dict[str, str]:
    return {
        Path(each.file).name: each.why for each in evidence_in(paths) if isinstance(each, NotRead)
    }


def test_a_backup_belongs_to_its_log_or_stands_alone(tmp_path: Path) -> None:
    for name in ("a.log", "a.bak", "b.bak", "c.log"):
        (tmp_path / name).write_text("line\n")
    assert read_in(tmp_path) == [("a.bak", "a.log"), ("b.bak",), ("c.log",)]


def test_names_are_those_of_windows_ce_in_any_case(tmp_path: Path) -> None:
    for name in ("CPSW3G.LOG", "cpsw3g.BAK", "OLD.BAK"):
        (tmp_path / name).write_text("line\n")
    assert read_in(tmp_path) == [("cpsw3g.BAK", "CPSW3G.LOG"), ("OLD.BAK",)]


def test_each_file_is_read_once(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "a.log"
    log.parent.mkdir()
    log.write_text("line\n")
    assert read_in(log, tmp_path, log.parent) == [("a.log",)]


def test_what_a_run_and_a_phone_keep_beside_is_passed_over(tmp_path: Path) -> None:
    logs = tmp_path / "00-04-F2-00-00-01" / "DSK1" / "logs"
    logs.mkdir(parents=True)
    (logs / "cpsw3g.log").write_text("line\n")
    (logs.parent / "cache.json").write_text("{}")
    for name in ("summary.json", "run.db", "operator.log"):
        (tmp_path / name).write_text("{}")
    assert read_in(tmp_path) == [("cpsw3g.log",)]
    assert not_read_in(tmp_path) == {}
    (logs / "cpsw3g.log.1").write_text("line\n")
    assert not_read_in(tmp_path) == {"cpsw3g.log.1": "neither a .log nor a capture"}


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "gone.log").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a.log").write_text("line\n")
    assert read_in(tmp_path) == [("a.log",)]
    assert set(not_read_in(tmp_path)) == {"pipe.log", "gone.log"}
    assert "save it as one first" in not_read_in(tmp_path / "pipe.log")["pipe.log"]


def test_a_folder_without_evidence_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the third floor")
    (why,) = not_read_in(tmp_path).values()
    assert why.startswith("no device log and no capture is in this folder")
    assert "notes.txt: neither a .log nor a capture" in why
