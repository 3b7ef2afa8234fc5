from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "logs"


def golden(name: str) -> Path:
    return GOLDEN / f"{name}.log"


def test_a_healthy_log_has_no_fault(phonesim: Callable) -> None:
    came = phonesim("diagnose", golden("cold-boot"))
    assert came.status == 0
    assert came.out.splitlines() == ["1 phone, 1 boot: 1 signed in, 0 not", "", "no fault found"]
    assert came.err == ""


def test_a_finding_has_its_evidence_its_why_and_its_remedies(phonesim: Callable) -> None:
    came = phonesim("diagnose", golden("no-option-43-no-dns"))
    assert came.status == 3
    lines = came.out.splitlines()
    assert lines[2:5] == [
        "1. DHCP gives no option 43",
        "   option-43-missing: certain, 1 of 1 phone",
        "   DHCP server 127.20.0.10",
    ]
    text = " ".join(came.out.split())
    assert "no-option-43-no-dns.log:" in text
    assert "Option missing in the answer of 127.20.0.10: 43" in text
    assert "Why: Option 43 has the Web Services URL." in text
    for where in ("Windows DHCP:", "Kea:", "ISC dhcpd:", "dnsmasq:", "Cisco IOS:"):
        assert where in text
    assert "2. There is no SRV record for the Registrar" in text
    assert "Windows DNS:" in text
    assert "BIND:" in text


@pytest.mark.parametrize("name", ["no-option-43-no-dns", "rogue-dhcp-server", "pin-wrong"])
def test_80_columns_do(phonesim: Callable, name: str) -> None:
    lines = phonesim("diagnose", golden(name)).out.splitlines()
    assert max(map(len, lines)) <= 80


def test_phones_that_signed_in_nevertheless_are_told(phonesim: Callable) -> None:
    came = phonesim("diagnose", golden("address-conflict"))
    assert came.status == 3
    assert "address-conflict: certain, 1 of 1 phone, 1 signed in nevertheless" in came.out


def test_octets_are_decoded_beside_the_line_they_stand_in(
    phonesim: Callable, tmp_path: Path
) -> None:
    faults = ("--fault", "option-43-cut", "--fault", "no-registrar-records")
    phonesim("run", "--attach", "virtual", "--phones", "2", *faults, "--out", tmp_path)
    (run,) = tmp_path.iterdir()
    came = phonesim("diagnose", run)
    assert came.status == 3
    assert "option-43-cut: certain, 2 of 2 phones" in came.out
    assert "=> sub-option 5 (cert_prov_rel_path) at offset 56 is cut short" in came.out
    assert "180 hex characters" in " ".join(came.out.split())


def test_json_is_one_document(phonesim: Callable) -> None:
    came = phonesim("diagnose", golden("pin-wrong"), "--json")
    assert (came.status, came.err) == (3, "")
    document = came.document
    assert {key: document[key] for key in ("phones", "boots", "signed_in")} == {
        "phones": 1,
        "boots": 1,
        "signed_in": 0,
    }
    (finding,) = document["findings"]
    assert finding["cause"] == "pin-wrong"
    assert finding["certainty"] == "certain"
    assert finding["phones"] == ["00-04-F2-00-00-01"]
    assert finding["evidence"][0]["file"] == str(golden("pin-wrong"))
    assert finding["evidence"][0]["line"] > 1
    assert "IncorrectPin" in finding["evidence"][0]["text"]
    assert "Set-CsClientPin" in finding["remedies"][0]["how"]
    assert document["inputs"][0]["unknown_lines"] == 0


def test_partial_input_says_so(phonesim: Callable, tmp_path: Path) -> None:
    data = golden("pin-wrong").read_bytes()
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(data[300:900] + b"CPSW3G Miniport version:1.0\r\n" * 2 + data[900:-20])
    came = phonesim("diagnose", path)
    assert came.status == 3
    text = " ".join(came.out.split())
    assert "it begins in the middle of a boot" in text
    assert "it ends in the middle of a line" in text
    assert "not known, such as" in text
    assert "pin-wrong" in text


def test_notes_of_many_files_are_few(phonesim: Callable, tmp_path: Path) -> None:
    lines = golden("pin-wrong").read_bytes().splitlines(keepends=True)
    for number in range(1, 10):
        folder = tmp_path / f"00-04-F2-00-00-0{number}" / "DSK1" / "logs"
        folder.mkdir(parents=True)
        (folder / "cpsw3g.log").write_bytes(b"".join(lines[3:]))
    shown = phonesim("diagnose", tmp_path).out.splitlines()
    assert sum(line.startswith("Note: ") for line in shown) == 6
    assert "Note: of 4 files more not all was read: see --json" in shown


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"", "the file is empty"), (b"\0" * 100, "binary data"), (b"a\n", "no line of it")],
)
def test_bad_input_is_one_line(phonesim: Callable, tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(data)
    came = phonesim("diagnose", path, "--json")
    assert (came.status, came.out) == (2, "")
    (line,) = came.err.splitlines()
    assert line.startswith(f"phonesim: {path}: ")
    assert told in line


def test_what_cannot_be_found_is_one_line(phonesim: Callable, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.log"):
        came = phonesim("diagnose", path)
        assert came.status == 2
        assert len(came.err.splitlines()) == 1
    assert phonesim("diagnose").status == 2
    assert phonesim("diagnose", golden("cold-boot"), "--device", "cx999").status == 2


def test_what_was_read_and_what_was_not_is_said(phonesim: Callable, tmp_path: Path) -> None:
    bad = tmp_path / "rnd.bin"
    bad.write_bytes(b"\0\1\2")
    came = phonesim("diagnose", golden("pin-wrong"), bad)
    assert came.status == 3
    assert "Read: 1 log file" in came.out.splitlines()
    assert "Not read: " in came.out
    assert "binary data" in " ".join(came.out.split())
    document = phonesim("diagnose", golden("pin-wrong"), bad, "--json").document
    assert document["not_read"][0]["file"] == str(bad)


def test_an_empty_path_is_not_the_current_folder(phonesim: Callable) -> None:
    came = phonesim("diagnose", "")
    assert came.status == 2
    assert "a path is empty" in came.err


def test_a_log_that_is_cut_says_where_it_ends(phonesim: Callable, tmp_path: Path) -> None:
    data = golden("cold-boot").read_bytes()
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(data[: data.index(b"Stage discovery")])
    came = phonesim("diagnose", path)
    assert came.status == 3
    text = " ".join(came.out.split())
    assert "the end of the sign-in is not in it" in text
    assert "ends in the stage discovery, the last of it:" in text
    assert came.out.splitlines()[-1] == "no fault found up to there"
    (end,) = phonesim("diagnose", path, "--json").document["not_signed_in_at_end"]
    assert end["stage"] == "discovery"


def test_a_command_that_is_broken_can_be_copied(phonesim: Callable) -> None:
    lines = phonesim("diagnose", golden("no-option-120-no-dns")).out.splitlines()
    starts = [number for number, line in enumerate(lines) if "phonesim dhcputil config kea" in line]
    at = starts[0]
    assert lines[at].endswith(" \\")
    assert lines[at + 1].strip().startswith("--")


def test_another_dialect_is_named_by_its_profile(phonesim: Callable, tmp_path: Path) -> None:
    profile = tmp_path / "ours.yaml"
    profile.write_text(
        "extends: polycom-cx600\nname: ours\nlog:\n  records:\n"
        '    boot_failed: {zone: CRITICAL, text: "BOOT {stage} {reason} {detail} {retry}"}\n'
    )
    line = b'01/05/2026 07:00:00.248|0000000248|CRITICAL|BOOT ticket pin-locked "no" "never"\r\n'
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(line)
    assert phonesim("diagnose", path).status == 2
    came = phonesim("diagnose", path, "--device", profile)
    assert came.status == 3
    assert "pin-locked: certain" in came.out


def test_control_codes_of_a_log_do_not_reach_a_terminal(phonesim: Callable, tmp_path: Path) -> None:
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(golden("pin-wrong").read_bytes() + b"\x1b[31mred\x07\n")
    came = phonesim("diagnose", path)
    assert "\x1b" not in came.out
    assert "\\x1B[31mred\\x07" in came.out
