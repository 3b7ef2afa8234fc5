import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from phonesim.config.device_profile import DeviceLogConfig
from phonesim.device.actions import WriteLog
from phonesim.device.device_log import DISPLAY
from phonesim.drivers.run_folder import (
    LINES_KEPT,
    LINES_KEPT_SIGNED_IN,
    LOG_BUFFER,
    RunFolder,
)
from phonesim.errors import ProfileError, UsageError

PHONE = "00-04-F2-00-00-01"


def shown(text: str, tick: int = 0) -> WriteLog:
    return WriteLog(records=(DISPLAY(text),), clock=0.0, tick=tick)


def test_log_lines_appear_at_the_flush_and_in_order(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    disk = RunFolder.create(tmp_path, "run").disk(PHONE, log_profile)
    disk.append_log(shown("one", 1))
    disk.append_log(shown("two", 2))
    path = tmp_path / "run" / PHONE / "DSK1/logs/cpsw3g.log"
    assert not path.exists()
    disk.flush()
    assert path.read_bytes() == (
        b'01/01/1970 00:00:00.000|0000000001|TEST    |display "one"\r\n'
        b'01/01/1970 00:00:00.000|0000000002|TEST    |display "two"\r\n'
    )
    disk.append_log(shown("three"))
    disk.flush()
    disk.flush()
    assert path.read_bytes().count(b"\r\n") == 3


def test_a_chatty_phone_is_flushed_before_its_lines_fill_the_memory(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    disk = RunFolder.create(tmp_path, "run").disk(PHONE, log_profile)
    for number in range(LOG_BUFFER // 50):
        disk.append_log(shown(f"line {number}"))
    path = tmp_path / "run" / PHONE / "DSK1/logs/cpsw3g.log"
    assert path.stat().st_size >= LOG_BUFFER


def test_a_full_log_becomes_the_backup_and_no_line_is_cut(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    log = log_profile.model_copy(update={"maximum_size": 4096})
    disk = RunFolder.create(tmp_path, "run").disk(PHONE, log)
    for number in range(100):
        disk.append_log(shown(f"line {number}"))
    disk.flush()
    folder = tmp_path / "run" / PHONE / "DSK1/logs"
    backup, current = (folder / "cpsw3g.bak").read_text(), (folder / "cpsw3g.log").read_text()
    assert len(backup) <= 4096
    assert len(current) <= 4096
    lines = (backup + current).splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == [f'{n}"' for n in range(100)][
        -len(lines) :
    ]
    assert len(lines) > 60


def test_files_are_whole_private_and_read_back(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    disk = RunFolder.create(tmp_path, "run").disk(PHONE, log_profile)
    assert disk.files() == {}
    disk.write_file("cache.json", b"old")
    disk.write_file("cache.json", b"new")
    disk.write_file("certificate.der", b"\x30")
    assert disk.files() == {"cache.json": b"new", "certificate.der": b"\x30"}
    disk.flush()
    folder = tmp_path / "run" / PHONE / "DSK1"
    assert sorted(os.listdir(folder)) == ["cache.json", "certificate.der", "logs"]
    assert stat.S_IMODE((folder / "cache.json").stat().st_mode) == 0o600
    assert disk.files() == {"cache.json": b"new", "certificate.der": b"\x30"}
    disk.write_file("cache.json", b"newer")
    disk.flush()
    assert disk.files()["cache.json"] == b"newer"
    assert sorted(os.listdir(folder)) == ["cache.json", "certificate.der", "logs"]
    disk.delete_file("cache.json")
    disk.delete_file("never-was")
    assert disk.files() == {"certificate.der": b"\x30"}
    assert not (folder / "cache.json").exists()


def test_a_phone_that_wrote_nothing_leaves_nothing(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    disk = RunFolder.create(tmp_path, "run").disk(PHONE, log_profile)
    disk.write_file("cache.json", b"x")
    disk.delete_file("cache.json")
    disk.flush()
    assert os.listdir(tmp_path / "run") == []


def test_two_runs_of_one_name_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda: folders.append(RunFolder.create(tmp_path, "run").path))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in folders) == ["run", *(f"run-{n}" for n in range(2, 9))]


def test_a_base_that_is_a_file_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"taken.*no run folder.*--out"):
        RunFolder.create(tmp_path / "taken", "run")


def test_a_disk_that_cannot_be_written_is_reported_once_and_the_phones_go_on(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    reports: list[str] = []
    run = RunFolder.create(tmp_path, "run", reports.append)
    (tmp_path / "run" / PHONE).write_text("in the way")
    disk = run.disk(PHONE, log_profile)
    for _ in range(3):
        disk.append_log(shown("lost"))
        disk.write_file("cache.json", b"lost")
        disk.flush()
    assert disk.files() == {}
    assert len(reports) == 1
    assert "cannot be written" in reports[0]
    other = run.disk("00-04-F2-00-00-02", log_profile)
    other.append_log(shown("kept"))
    other.flush()
    assert (tmp_path / "run/00-04-F2-00-00-02/DSK1/logs/cpsw3g.log").exists()


def test_a_full_disk_is_reported(tmp_path: Path, log_profile: DeviceLogConfig) -> None:
    reports: list[str] = []
    disk = RunFolder.create(tmp_path, "run", reports.append).disk(PHONE, log_profile)
    disk.append_log(shown("fits"))
    disk.flush()
    log = tmp_path / "run" / PHONE / "DSK1/logs/cpsw3g.log"
    log.unlink()
    log.symlink_to("/dev/full")
    disk.append_log(shown("does not"))
    disk.flush()
    assert reports == [
        f"{tmp_path / 'run'}: cannot be written: No space left on device; "
        "logs and files of this run are incomplete"
    ]


@pytest.mark.parametrize("path", ["/etc/log", "../cpsw3g.log", "cpsw3g.log"])
def test_a_log_path_may_not_leave_the_phones_folder(
    tmp_path: Path, log_profile: DeviceLogConfig, path: str
) -> None:
    with pytest.raises(ProfileError, match=r"log\.path"):
        RunFolder.create(tmp_path, "run").disk(PHONE, log_profile.model_copy(update={"path": path}))


def test_where_only_failures_are_kept_a_boot_that_ends_well_leaves_nothing(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    folder = RunFolder.create(tmp_path, "run", failures_only=True)
    disk = folder.disk(PHONE, log_profile)
    disk.append_log(shown("well"))
    disk.write_file("cache.json", b"{}")
    disk.settled(is_well=True)
    disk.flush()
    assert not list(folder.path.iterdir())
    assert disk.files() == {"cache.json": b"{}"}


def test_where_only_failures_are_kept_a_failed_boot_is_written_from_its_beginning(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    folder = RunFolder.create(tmp_path, "run", failures_only=True)
    disk = folder.disk(PHONE, log_profile)
    disk.write_file("gone.json", b"1")
    disk.delete_file("gone.json")
    disk.write_file("cache.json", b"{}")
    disk.append_log(shown("before"))
    disk.settled(is_well=False)
    disk.append_log(shown("after"))
    disk.write_file("phone.key", b"k")
    disk.settled(is_well=True)
    disk.flush()
    path = folder.path / PHONE / "DSK1"
    text = (path / "logs/cpsw3g.log").read_text()
    assert [line.split('"')[1] for line in text.splitlines()] == ["before", "after"]
    assert {each.name for each in path.iterdir()} == {"logs", "cache.json", "phone.key"}
    disk.delete_file("cache.json")
    assert dict(disk.files()) == {"phone.key": b"k"}


@pytest.mark.parametrize(
    ("has_signed_in", "most"), [(False, LINES_KEPT), (True, LINES_KEPT_SIGNED_IN)]
)
def test_where_only_failures_are_kept_a_phone_does_not_fill_the_memory(
    tmp_path: Path, log_profile: DeviceLogConfig, has_signed_in: bool, most: int
) -> None:
    folder = RunFolder.create(tmp_path, "run", failures_only=True)
    disk = folder.disk(PHONE, log_profile)
    if has_signed_in:
        disk.append_log(shown("a boot"))
        disk.settled(is_well=True)
    for number in range(3 * most):
        disk.append_log(shown(f"line {number}"))
    disk.settled(is_well=False)
    disk.flush()
    text = (folder.path / PHONE / "DSK1/logs/cpsw3g.log").read_text()
    assert most <= text.count("\n") < 2 * most
    assert f'"line {3 * most - 1}"' in text.splitlines()[-1]


def test_a_run_takes_over_what_an_earlier_one_left(
    tmp_path: Path, log_profile: DeviceLogConfig
) -> None:
    earlier = RunFolder.create(tmp_path, "run")
    earlier.keep("site-authority.pem", b"secret")
    assert stat.S_IMODE((earlier.path / "site-authority.pem").stat().st_mode) == 0o600
    assert earlier.kept("site-authority.pem") is None  # that is its own, and not of a run before
    disk = earlier.disk(PHONE, log_profile)
    disk.append_log(shown("before"))
    disk.write_file("cache.json", b"kept")
    disk.write_file("crash.txt", b"long ago")
    disk.flush()
    (earlier.path / PHONE / "DSK1/identity.json.new").write_bytes(b"half a fi")

    later = RunFolder.create(tmp_path, "run", earlier=earlier.path)
    assert later.kept("site-authority.pem") == b"secret"
    assert later.kept_file(PHONE, log_profile, "cache.json") == b"kept"
    assert later.kept_file(PHONE, log_profile, "phone.key") is None
    again = later.disk(PHONE, log_profile)
    assert again.files() == {"cache.json": b"kept"}
    again.write_file("cache.json", b"new")
    again.flush()
    assert (later.path / PHONE / "DSK1/cache.json").read_bytes() == b"new"
    assert (earlier.path / PHONE / "DSK1/cache.json").read_bytes() == b"kept"
    assert later.disk("00-04-F2-00-00-02", log_profile).files() == {}


def test_a_file_that_does_not_fit_leaves_the_old_one(
    tmp_path: Path, log_profile: DeviceLogConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[str] = []
    disk = RunFolder.create(tmp_path, "run", reports.append).disk(PHONE, log_profile)
    disk.write_file("identity.json", b"old")
    disk.flush()

    def no_room(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", no_room)
    disk.write_file("identity.json", b"new")
    disk.flush()
    folder = tmp_path / "run" / PHONE / "DSK1"
    assert sorted(os.listdir(folder)) == ["identity.json", "logs"]
    assert disk.files() == {"identity.json": b"old"}
    assert len(reports) == 1
    assert "No space left on device" in reports[0]
