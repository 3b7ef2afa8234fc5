from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from captures import TcpTalk, capture_of, lease
from healthy_runs import CAPTURE, describe_run, healthy_run
from scapy.layers.dhcp import DHCP
from scapy.layers.inet import IP
from scapy.utils import rdpcap, wrpcap

from phonesim.config.fleet_profile import FleetProfile
from phonesim.errors import UsageError
from phonesim.field.boots import each_boot
from phonesim.field.diagnosis import Diagnosis, diagnose, diagnose_boots
from phonesim.field.finding import Certainty
from phonesim.field.log_reader import read_log, shipped_dialects
from phonesim.fleet.plan import plan_fleet
from phonesim.fleet.runner import run_fleet
from phonesim.fleet.worlds import world_for

GOLDEN = Path(__file__).parents[1] / "golden" / "logs"
HEALTHY_RUNS = 200
GROUPS = 10

MakePhone = Callable[..., Path]


@pytest.fixture
def make_phone(tmp_path: Path) -> MakePhone:
    """Put golden logs into the folder of a phone in a run; return the log."""

    def make(number: int, *golden: str, backup: str | None = None) -> Path:
        folder = tmp_path / "run" / f"00-04-F2-00-00-{number:02X}" / "DSK1" / "logs"
        folder.mkdir(parents=True)
        if backup is not None:
            (folder / "cpsw3g.bak").write_bytes((GOLDEN / f"{backup}.log").read_bytes())
        path = folder / "cpsw3g.log"
        path.write_bytes(b"".join((GOLDEN / f"{name}.log").read_bytes() for name in golden))
        return path

    return make


def names(diagnosis: Diagnosis) -> list[str]:
    return [found.cause.name for found in diagnosis.found]


@pytest.mark.parametrize(
    ("golden", "causes"),
    [
        ("cold-boot", []),
        ("second-boot", []),
        ("four-boots", []),
        ("an-hour", []),
        ("voice-vlan", []),
        ("voice-vlan-by-dhcp", []),
        ("sign-in-by-password", []),
        ("no-option-43", []),
        ("no-option-120", []),
        ("first-registrar-down", ["option-120-stale-first"]),
        ("address-conflict", ["address-conflict"]),
        ("dhcp-silent", ["dhcp-silent"]),
        ("lldp-wrong-vlan", ["voice-vlan-dead"]),
        ("no-option-43-no-dns", ["option-43-missing", "srv-missing"]),
        ("no-option-120-no-dns", ["option-120-missing", "srv-missing"]),
        ("pin-wrong", ["pin-wrong"]),
        ("registrar-certificate-untrusted", ["certificate-untrusted"]),
        ("rogue-dhcp-server", ["rogue-dhcp-server"]),
        ("vlan-option-malformed", ["vlan-option-malformed"]),
        ("web-certificate-no-intermediate", ["intermediate-missing"]),
    ],
)
def test_a_log_shows_its_causes_the_surest_first(golden: str, causes: list[str]) -> None:
    diagnosis = diagnose([GOLDEN / f"{golden}.log"])
    assert names(diagnosis) == causes
    assert diagnosis.phones == 1
    assert diagnosis.is_well is (not causes)
    assert not diagnosis.unexplained


def test_a_run_is_the_phones_in_it(make_phone: MakePhone, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        make_phone(number, "pin-wrong")
    make_phone(4, "cold-boot")
    make_phone(5, "registrar-certificate-untrusted")
    diagnosis = diagnose([tmp_path / "run"])
    assert names(diagnosis) == ["certificate-untrusted", "pin-wrong"]
    assert [len(found.phones) for found in diagnosis.found] == [1, 3]
    assert (diagnosis.phones, diagnosis.boots, diagnosis.signed_in) == (5, 5, 1)


def test_logs_of_one_folder_explain_each_other_and_logs_given_apart_may_not(
    make_phone: MakePhone, tmp_path: Path
) -> None:
    well, silent = make_phone(1, "cold-boot"), make_phone(2, "dhcp-silent")
    assert names(diagnose([tmp_path / "run"])) == ["dhcp-pool-exhausted"]
    assert names(diagnose([well, silent])) == ["dhcp-silent", "dhcp-pool-exhausted"]


def test_a_folder_of_runs_is_all_phones_of_all_runs(make_phone: MakePhone, tmp_path: Path) -> None:
    make_phone(1, "pin-wrong")
    (tmp_path / "run" / "operator.log").write_text('{"event": "run started"}')
    (tmp_path / "run").rename(tmp_path / "run-1")
    make_phone(2, "cold-boot")
    diagnosis = diagnose([tmp_path])
    assert (diagnosis.phones, diagnosis.boots, len(diagnosis.readings)) == (2, 2, 2)


def test_a_phone_is_a_folder_with_two_files(make_phone: MakePhone) -> None:
    log = make_phone(1, "pin-wrong", backup="cold-boot")
    for path in (log.parents[2], log.parents[1], log.parent):
        diagnosis = diagnose([path])
        assert (diagnosis.phones, diagnosis.boots) == (1, 2)
        assert [Path(reading.file).name for reading in diagnosis.readings] == [
            "cpsw3g.bak",
            "cpsw3g.log",
        ]
    assert diagnose([log]).boots == 1


@pytest.mark.parametrize("name", ["lldp-wrong-vlan", "rogue-dhcp-server", "first-registrar-down"])
def test_a_boot_may_be_in_two_files(make_phone: MakePhone, name: str) -> None:
    lines = (GOLDEN / f"{name}.log").read_bytes().splitlines(keepends=True)
    log = make_phone(1, "cold-boot")
    expected = names(diagnose([GOLDEN / f"{name}.log"]))
    for at in range(1, len(lines), 5):
        log.with_suffix(".bak").write_bytes(b"\n" * 500 + b"".join(lines[:at]))
        log.write_bytes(b"".join(lines[at:]))
        assert names(diagnose([log.parent])) == expected


def test_several_paths_are_one_diagnosis_and_none_is_read_twice(
    make_phone: MakePhone, tmp_path: Path
) -> None:
    log = make_phone(1, "pin-wrong")
    other = make_phone(2, "cold-boot")
    diagnosis = diagnose([log, other.parents[2], tmp_path / "run", log])
    assert (diagnosis.phones, diagnosis.boots) == (2, 2)


def test_boots_of_a_phone_are_counted_and_the_surest_is_shown(make_phone: MakePhone) -> None:
    log = make_phone(1, "pin-wrong", "cold-boot", "pin-wrong", "dhcp-silent")
    (certain, likely) = diagnose([log]).found
    assert (certain.cause.name, certain.certainty, certain.boots) == (
        "pin-wrong",
        Certainty.CERTAIN,
        2,
    )
    assert (likely.cause.name, likely.certainty, likely.boots) == (
        "dhcp-silent",
        Certainty.LIKELY,
        1,
    )


def test_a_capture_is_known_by_its_first_octets(tmp_path: Path) -> None:
    folder = healthy_run(1, tmp_path)
    assert folder is not None
    capture = (folder / CAPTURE).rename(tmp_path / "site.log")
    (reading,) = diagnose([capture]).readings
    assert reading.is_capture
    assert reading.lines > 20


def test_a_capture_that_is_cut_is_read_up_to_there(tmp_path: Path) -> None:
    folder = healthy_run(1, tmp_path)
    assert folder is not None
    capture = folder / CAPTURE
    capture.write_bytes(capture.read_bytes()[:3000])
    (reading,) = diagnose([capture]).readings
    assert reading.notes


@pytest.mark.parametrize(
    ("until", "stage"),
    [
        (b"SELECTING -> REQ", "ip"),
        (b"DHCP INFORM", "discovery"),
        (b"Stage ticket ended", "ticket"),
    ],
)
def test_a_log_that_is_cut_is_no_success(tmp_path: Path, until: bytes, stage: str) -> None:
    data = (GOLDEN / "cold-boot.log").read_bytes()
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(data[: data.index(until) + 5])
    diagnosis = diagnose([path])
    assert not diagnosis.is_well
    assert not diagnosis.found
    (end,) = diagnosis.open_ends
    assert end.stage == stage
    assert end.last.place.number == data[: data.index(until)].count(b"\n")


@pytest.mark.parametrize(
    "name", ["cold-boot", "no-option-43", "no-option-120", "sign-in-by-password", "pin-wrong"]
)
def test_of_a_log_that_is_cut_nothing_wrong_is_certain(tmp_path: Path, name: str) -> None:
    lines = (GOLDEN / f"{name}.log").read_bytes().splitlines(keepends=True)
    right = set(names(diagnose([GOLDEN / f"{name}.log"])))
    path = tmp_path / "cpsw3g.log"
    for at in range(1, len(lines)):
        for part in (lines[:at], lines[at:]):
            path.write_bytes(b"".join(part))
            certain = {
                found.cause.name
                for found in diagnose([path]).found
                if found.certainty is Certainty.CERTAIN
            }
            assert certain <= right, (at, part[-1])


def test_a_log_without_its_beginning_names_the_option(tmp_path: Path) -> None:
    data = (GOLDEN / "no-option-43-no-dns.log").read_bytes()
    path = tmp_path / "cpsw3g.log"
    at = data.index(b"DNS answer SRV _sip._tls")
    path.write_bytes(data[data.rindex(b"\n", 0, at) + 1 :])
    diagnosis = diagnose([path])
    assert names(diagnosis) == ["option-43-missing", "srv-missing"]
    assert {found.certainty for found in diagnosis.found} == {Certainty.LIKELY}


def test_the_last_boot_counts(make_phone: MakePhone) -> None:
    log = make_phone(1, "cold-boot")
    whole = log.read_bytes()
    log.write_bytes(whole[:900] + b"\r\n" + whole)
    assert diagnose([log]).is_well
    log.write_bytes(whole + whole[:900])
    assert len(diagnose([log]).open_ends) == 1
    # Which of two files is the later one nobody knows.
    assert len(diagnose([log, GOLDEN / "cold-boot.log"]).open_ends) == 1


def test_a_capture_that_ends_early_is_no_success(tmp_path: Path) -> None:
    folder = healthy_run(1, tmp_path)
    assert folder is not None
    packets = rdpcap(str(folder / CAPTURE))
    informs = [
        number
        for number, packet in enumerate(packets)
        if DHCP in packet and ("message-type", 8) in packet[DHCP].options
    ]
    cut = tmp_path / "cut.pcap"
    wrpcap(str(cut), packets[: informs[0] + 4], linktype=1)
    diagnosis = diagnose([cut])
    assert not diagnosis.found
    (end,) = diagnosis.open_ends
    assert (end.stage, end.last.place.is_frame) == ("", True)


def test_of_a_rogue_server_a_capture_has_the_mac(tmp_path: Path) -> None:
    capture = tmp_path / "rogue.pcapng"
    fleet = FleetProfile(name="rogue", attach="virtual", phones=1, faults=("rogue-dhcp-server",))
    run_fleet(plan_fleet(fleet, []), world_for("virtual", capture), tmp_path, lambda _: None)
    packets = rdpcap(str(capture))
    (found,) = diagnose([capture]).found
    assert found.cause.name == "rogue-dhcp-server"
    server = found.example.detail.split()[4]
    macs = {packet.src for packet in packets if IP in packet and packet[IP].src == server}
    (mac,) = macs
    assert f"{server} at MAC {mac.replace(':', '-').upper()}," in found.example.detail


def test_a_capture_of_dhcp_only_says_so_and_shows_what_dhcp_shows(tmp_path: Path) -> None:
    capture = tmp_path / "dhcp.pcapng"
    fleet = FleetProfile(name="dhcp", attach="virtual", phones=2, faults=("option-43-cut",))
    plan = plan_fleet(fleet, [])
    run_fleet(plan, world_for("virtual", capture), tmp_path / "runs", lambda progress: None)
    packets = [packet for packet in rdpcap(str(capture)) if DHCP in packet]
    wrpcap(str(tmp_path / "dhcp.pcap"), packets, linktype=1)
    diagnosis = diagnose([tmp_path / "dhcp.pcap"])
    assert names(diagnosis) == ["option-43-cut"]
    assert not diagnosis.open_ends
    (reading,) = diagnosis.readings
    assert "it has DHCP only: what the phones did after that is not known" in reading.notes


def test_a_capture_with_a_connection_that_went_well_has_more_than_dhcp(tmp_path: Path) -> None:
    capture = tmp_path / "filtered.pcapng"
    capture.write_bytes(capture_of([*lease(), *TcpTalk(5061).open()]))
    diagnosis = diagnose([capture])
    assert not any("DHCP only" in note for note in diagnosis.readings[0].notes)
    (end,) = diagnosis.open_ends
    assert end.last.place.is_frame


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF\x00\x00\x00", "binary data"),
        (b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00", "."),
        (b"hello\nworld\n", "no line of it is a device log's, such as 'hello'"),
        (b"\r\n\r\n", "no line of it is a device log's"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=told):
        diagnose([path])


def test_what_is_not_there_and_folders_without_logs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        diagnose([tmp_path / "nothing"])
    with pytest.raises(UsageError, match="no device log and no capture is in this"):
        diagnose([tmp_path])


def test_one_bad_log_of_a_run_is_named(make_phone: MakePhone, tmp_path: Path) -> None:
    make_phone(1, "pin-wrong")
    make_phone(2, "cold-boot").write_bytes(b"\0\1\2")
    diagnosis = diagnose([tmp_path / "run"])
    assert names(diagnosis) == ["pin-wrong"]
    (not_read,) = diagnosis.not_read
    assert "binary data" in not_read.why


def test_of_a_folder_all_evidence_is_read(make_phone: MakePhone, tmp_path: Path) -> None:
    make_phone(1, "pin-wrong")
    folder = healthy_run(1, tmp_path / "healthy")
    assert folder is not None
    (folder / CAPTURE).rename(tmp_path / "switch-port.pcapng")
    (tmp_path / "b.log").write_bytes((GOLDEN / "dhcp-silent.log").read_bytes())
    (tmp_path / "old.log.gz").write_bytes(gzip.compress(b"a log"))
    (tmp_path / "notes.txt").write_text("the third floor")
    diagnosis = diagnose([tmp_path])
    files = [Path(reading.file) for reading in diagnosis.readings]
    own = [path.name for path in files if path.parent == tmp_path]
    assert own == ["b.log", "switch-port.pcapng"]
    assert any("00-04-F2-00-00-01" in path.parts and "run" in path.parts for path in files)
    assert any("healthy" in path.parts for path in files)
    assert [(Path(each.file).name, each.why) for each in diagnosis.not_read] == [
        ("notes.txt", "neither a .log nor a capture"),
        ("old.log.gz", "it is packed by gzip: unpack it first"),
    ]
    assert "pin-wrong" in names(diagnosis)


def test_a_folder_with_a_capture_only_is_read(tmp_path: Path) -> None:
    folder = healthy_run(1, tmp_path / "healthy")
    assert folder is not None
    (tmp_path / "site").mkdir()
    (folder / CAPTURE).rename(tmp_path / "site" / "port.pcap")
    (reading,) = diagnose([tmp_path / "site"]).readings
    assert reading.is_capture


def test_a_runs_own_capture_is_not_read_beside_its_logs(tmp_path: Path) -> None:
    folder = healthy_run(1, tmp_path)
    assert folder is not None
    diagnosis = diagnose([folder])
    assert not any(reading.is_capture for reading in diagnosis.readings)
    (not_read,) = diagnosis.not_read
    assert Path(not_read.file).name == CAPTURE
    assert diagnose([folder / CAPTURE]).readings[0].is_capture


def test_what_can_be_read_is_read_beside_what_cannot(tmp_path: Path) -> None:
    bad = tmp_path / "rnd.bin"
    bad.write_bytes(b"\0\1\2")
    for paths in ([GOLDEN / "pin-wrong.log", bad], [bad, GOLDEN / "pin-wrong.log"]):
        diagnosis = diagnose([*paths, tmp_path / "nothing"])
        assert names(diagnosis) == ["pin-wrong"]
        assert {Path(each.file).name for each in diagnosis.not_read} == {"rnd.bin", "nothing"}


def test_a_bad_backup_does_not_hide_the_log(make_phone: MakePhone) -> None:
    log = make_phone(1, "pin-wrong")
    log.with_suffix(".bak").write_bytes(b"\0\1\2")
    diagnosis = diagnose([log.parent])
    assert names(diagnosis) == ["pin-wrong"]
    assert len(diagnosis.not_read) == 1


def test_a_run_of_bad_logs_is_refused(make_phone: MakePhone, tmp_path: Path) -> None:
    for number in (1, 2):
        make_phone(number, "cold-boot").write_bytes(b"\0\1\2")
    with pytest.raises(UsageError, match="binary data"):
        diagnose([tmp_path / "run"])


def test_a_failure_without_a_rule_is_not_hidden(tmp_path: Path) -> None:
    lines = (GOLDEN / "pin-wrong.log").read_bytes().splitlines(keepends=True)
    (line,) = [line for line in lines if b"Sign-in failed" in line]
    path = tmp_path / "cpsw3g.log"
    path.write_bytes(line.replace(b"pin-incorrect", b"moon-is-full"))
    diagnosis = diagnose([path])
    assert not diagnosis.is_well
    assert not diagnosis.found
    (unexplained,) = diagnosis.unexplained
    assert "moon-is-full" in unexplained.evidence.text


def test_boots_that_are_there_are_diagnosed_as_well() -> None:
    sightings = read_log([GOLDEN / "pin-wrong.log"], shipped_dialects(), [])
    assert names(diagnose_boots(each_boot(sightings))) == ["pin-wrong"]


@pytest.mark.parametrize("group", range(GROUPS))
def test_at_healthy_sites_nothing_is_found(tmp_path: Path, group: int) -> None:
    for seed in range(group, HEALTHY_RUNS, GROUPS):
        folder = healthy_run(seed, tmp_path / str(seed))
        if folder is None:
            continue
        for source in (folder, folder / CAPTURE):
            diagnosis = diagnose([source])
            assert names(diagnosis) == [], (seed, source.name, describe_run(seed))
            assert not diagnosis.unexplained
            assert not diagnosis.open_ends
