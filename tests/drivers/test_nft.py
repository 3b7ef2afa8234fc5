import stat
from pathlib import Path

import pytest

from phonesim.drivers import nft
from phonesim.errors import UsageError


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the program, the only one to be found."""
    path = tmp_path / "nft"
    path.write_text("#!/bin/sh\nexec cat\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(nft, "nft_path", lambda: str(path))
    return path


def test_a_script_goes_in_and_what_is_printed_comes_out(program: Path) -> None:
    assert nft.run_nft("list tables\n") == "list tables\n"


@pytest.mark.parametrize(
    ("complaint", "told"),
    [
        ("/dev/stdin:3:5-9: Error: syntax error\\nmore\\n", "nft: syntax error"),
        ("netlink: Error: cache initialization failed\\n", "nft: netlink: Error: cache "),
        ("", "nft: exit status 3"),
    ],
)
def test_what_it_complains_about_is_one_line(program: Path, complaint: str, told: str) -> None:
    program.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '{complaint}' >&2\nexit 3\n")
    with pytest.raises(UsageError) as raised:
        nft.run_nft("add table x\n")
    assert str(raised.value).startswith(told)
    assert "\n" not in str(raised.value)


def test_a_program_that_hangs_is_given_up(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(nft, "_SECONDS", 0.1)
    with pytest.raises(UsageError, match="no answer"):
        nft.run_nft("")


def test_a_program_that_cannot_be_started_is_the_users_error(program: Path) -> None:
    program.write_text("")
    with pytest.raises(UsageError, match="nft: "):
        nft.run_nft("")


def test_without_the_program_the_user_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("phonesim.drivers.nft._SYSTEM_FOLDERS", "")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="package nftables"):
        nft.run_nft("")
