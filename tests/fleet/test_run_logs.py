import json
from pathlib import Path

import pytest

from phonesim.errors import UsageError
from phonesim.fleet.run_logs import (
    find_phone,
    find_run,
    follow_log,
    last_lines,
    list_phones,
    list_runs,
    read_log,
)

PHONES = ("00-04-F2-00-00-01", "00-04-F2-00-01-01", "00-08-5D-00-00-02")


def make_run(base: Path, name: str, *, is_over: bool = True) -> Path:
    for phone_id in PHONES:
        log = base / name / phone_id / "DSK1/logs/cpsw3g.log"
        log.parent.mkdir(parents=True)
        log.write_bytes(f"{phone_id} one\r\n{phone_id} two\r\n".encode())
    if is_over:
        (base / name / "summary.json").write_text(json.dumps({"phones": 3}))
    return base / name


def test_runs_are_listed_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("20260105-070000-demo-10", "20260105-070000-demo-2", "20260105-070000-demo"):
        make_run(tmp_path, name)
    make_run(tmp_path, "20260106-000000-late", is_over=False)
    (tmp_path / "20990101-notes").mkdir()
    (tmp_path / "README.md").write_text("")
    runs = list_runs(tmp_path)
    assert [run.name for run in runs] == [
        "20260105-070000-demo",
        "20260105-070000-demo-2",
        "20260105-070000-demo-10",
        "20260106-000000-late",
    ]
    assert [run.summary for run in runs] == [{"phones": 3}] * 3 + [None]
    assert find_run(tmp_path, None) == runs[-1]
    assert find_run(tmp_path, "20260105-070000-demo") == runs[0]
    assert find_run(tmp_path, str(tmp_path / "20260105-070000-demo-2")).path == runs[1].path


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no runs here"):
        find_run(tmp_path, None)
    with pytest.raises(UsageError, match="cannot be read"):
        list_runs(tmp_path / "none")
    make_run(tmp_path, "20260105-070000-demo")
    with pytest.raises(UsageError, match="did you mean 20260105-070000-demo"):
        find_run(tmp_path, "20260105-070000-dmo")


def test_a_damaged_summary_is_a_run_that_did_not_end(tmp_path: Path) -> None:
    (make_run(tmp_path, "r") / "summary.json").write_text("{")
    assert find_run(tmp_path, "r").summary is None


@pytest.mark.parametrize(
    ("part", "phone_id"),
    [
        ("00-04-F2-00-00-01", PHONES[0]),
        ("00:04:f2:00:01:01", PHONES[1]),
        ("0004.f200.0001", PHONES[0]),
        ("0101", PHONES[1]),
        ("02", PHONES[2]),
        ("5d", PHONES[2]),
    ],
)
def test_a_phone_is_found_by_its_mac_or_a_part_of_it(
    tmp_path: Path, part: str, phone_id: str
) -> None:
    run = make_run(tmp_path, "r")
    assert find_phone(find_run(tmp_path, str(run)), part).phone_id == phone_id


def test_a_part_that_fits_none_or_several_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "r")
    run = find_run(tmp_path, "r")
    with pytest.raises(UsageError, match=r"'01' could be 00-04-F2-00-00-01, 00-04-F2-00-01-01$"):
        find_phone(run, "01")
    with pytest.raises(UsageError, match="no phone's MAC contains 'ff'"):
        find_phone(run, "ff")
    with pytest.raises(UsageError, match="contains '-'"):
        find_phone(run, "-")
    with pytest.raises(UsageError, match="has 3 phones: say which"):
        find_phone(run, None)


def test_a_log_is_read_with_what_it_held_before_it_was_full(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "r")
    (folder / PHONES[0] / "DSK1/logs/cpsw3g.bak").write_bytes(b"zero\r\n")
    log = list_phones(find_run(tmp_path, "r"))[0]
    one, two = (f"{PHONES[0]} {word}\r\n".encode() for word in ("one", "two"))
    assert b"".join(read_log(log)) == b"zero\r\n" + one + two
    assert log.size == 6 + len(one + two)
    assert last_lines(log, 3) == (b"zero\r\n" + one + two, len(one + two))
    assert last_lines(log, 1)[0] == two
    assert last_lines(log, 0)[0] == b""


def test_a_growing_log_is_followed_through_its_rotation(tmp_path: Path) -> None:
    make_run(tmp_path, "r")
    log = list_phones(find_run(tmp_path, "r"))[0]
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            with log.path.open("ab") as file:
                file.write(b"three\r\n")
        else:
            log.path.rename(log.path.with_suffix(".bak"))
            log.path.write_bytes(b"four\r\n")

    followed = follow_log(log, log.path.stat().st_size, wait)
    assert next(followed) == b"three\r\n"
    assert next(followed) == b"four\r\n"
    followed.close()
    assert len(waits) == 2
