import json
from pathlib import Path

import pytest
import structlog

from phonesim.errors import UsageError
from phonesim.fleet import operator_log as module
from phonesim.fleet.operator_log import operator_log


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "operator.log").read_text().splitlines()]


def test_what_drivers_log_goes_to_the_same_file_while_it_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with operator_log(tmp_path, has_wall_clock=False) as write:
        write(1.23456, False, "began", {"phones": 3, "path": tmp_path})
        structlog.get_logger("phonesim").warning("a disk is slow", seconds=2)
    assert lines(tmp_path) == [
        {"t": 1.235, "level": "info", "event": "began", "phones": 3, "path": str(tmp_path)},
        {"level": "warning", "event": "a disk is slow", "seconds": 2},
    ]
    structlog.get_logger("phonesim").warning("afterwards")
    assert len(lines(tmp_path)) == 2
    assert "afterwards" in capsys.readouterr().out


def test_a_line_with_a_line_break_is_one_line(tmp_path: Path) -> None:
    with operator_log(tmp_path, has_wall_clock=False) as write:
        write(0, True, "refused\nby a peer", {"detail": "a\r\nb"})
    assert lines(tmp_path)[0]["detail"] == "a\r\nb"


def test_a_log_that_is_full_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAXIMUM_SIZE", 500)
    with operator_log(tmp_path, has_wall_clock=False) as write:
        for number in range(100):
            write(number, True, "boot failed", {"phone": "00-04-F2-00-00-01"})
    written = lines(tmp_path)
    assert len(written) < 10
    assert written[-1]["event"] == "this log is full: later lines are dropped"
    assert (tmp_path / "operator.log").stat().st_size < 600


def test_a_folder_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="cannot be written"),
        operator_log(tmp_path / "none", has_wall_clock=False),
    ):
        pass
