from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from phonesim.errors import UsageError
from phonesim.field.dhcputil.named_input import read_input


def test_words_files_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pool.txt"
    path.write_text("option 43 hex 0a03313030\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"0a:03:31:30:30")))
    given = [
        read_input(["0a03313030"], None),
        read_input(["option", "43", "hex", "0a03313030"], None),
        read_input([str(path)], None),
        read_input(["-"], None),
    ]
    assert [each.where for each in given] == [
        "command line",
        "command line",
        str(path),
        "stdin",
    ]
    assert {each.options[0].octets for each in given} == {b"\x0a\x03100"}


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ([], "name octets, a configuration line, a file, or - for stdin"),
        (["no.conf"], "'no.conf' (there is no such file): no option 43 or 120"),
        (["option", "x"], "command line: "),
        (["sip.contoso.com"], "reads like a name. `phonesim dhcputil encode --sip-server sip.con"),
        (["sip.contoso.com"], "`phonesim dhcputil decode option 120 ascii sip.contoso.com`"),
        (["\0"], "this is not text"),
        (["x" * 5000], "x' (there is no such file): "),
    ],
)
def test_what_names_nothing(what: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_input(what, None)
    assert complaint in str(caught.value)


def test_a_folder_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is a folder: name a file in it"):
        read_input([str(tmp_path)], None)
