from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAME = "server.fqdn.company.com"
OPTION_120 = "0006736572766572046671646E07636F6D70616E7903636F6D00"
OPTION_43 = (
    "010C4D532D55432D436C69656E740205687474707303177365727665722E6671646E2E636F6D70616E792E636F6D"
    "040334343305252F4365727450726F762F4365727450726F766973696F6E696E67536572766963652E737663"
)
DHCP, CLIENT = "127.20.0.10", "127.20.16.201"
QUICKLY = ("--wait", "0.3", "--set", "device.discovery.inform_delays=[0.2,0.2]")

Phonesim = Callable[..., Any]


def test_encode_prints_what_dhcputil_prints(phonesim: Phonesim) -> None:
    came = phonesim("dhcputil", "encode", "--sip-server", NAME)
    published = Path(__file__).parents[1] / "field" / "dhcputil" / "dhcputil-2015.txt"
    assert (came.status, came.out.encode(), came.err) == (0, published.read_bytes(), "")


def test_encode_as_a_document(phonesim: Phonesim) -> None:
    arguments = ("dhcputil", "encode", "--sip-server", NAME, "--vlan", "100", "--json")
    document = phonesim(*arguments).document
    assert document["option_120"] == OPTION_120
    assert document["option_43"] == OPTION_43
    assert document["sub_options"]["4"] == "343433"
    assert document["vlan"] == {
        "id": 100,
        "vendor_class": "CPE-OCPHONE",
        "option_43": "0A03313030",
        "sub_options": {"10": "313030"},
    }
    assert phonesim(*arguments[:4], "--json").document["vlan"] is None


def test_the_older_dialect(phonesim: Phonesim) -> None:
    came = phonesim("dhcputil", "encode", "--sip-server", NAME, "--dialect", "2010")
    assert came.out.startswith(f"Sip Server FQDN: {NAME}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("encode",), "--sip-server: name the Registrar"),
        (("encode", "--sip-server", NAME, "--dialect", "1999"), "--dialect: '1999' is none of"),
        (("encode", "--sip-server", NAME, "--port", "0"), "--port"),
        (("decode",), "name octets, a configuration line, a file"),
        (("decode", "x.pcap"), "'x.pcap' (there is no such file): no option 43"),
        (("decode", "option", "zz"), "command line: no option 43 or 120"),
        (("decode", "--option", "3", "00"), "--option: 3 is neither 43 nor 120"),
        (("decode", "00", "--device", "none"), "none"),
        (("config", "bind", "--sip-server", NAME), "no DHCP server is called 'bind'"),
        (("config", "kea"), "--sip-server: name the Registrar"),
        (("config", "cisco-ios", "--sip-server", NAME, "--vlan", "9"), "--vlan: a pool of Cisco"),
        (("emulate-client",), "name where to ask"),
        (("emulate-client", "-i", "none0", "--server", DHCP), "name where to ask"),
        (("emulate-client", "-i", "none0", "--yes"), "interface none0: there is none"),
        (("emulate-client", "-i", "lo", "--yes"), "interface lo: it is no Ethernet"),
        (("emulate-client", "--server", "dhcp01"), "--server: 'dhcp01' is no IPv4 address"),
        (("emulate-client", "--server", DHCP, "--from", "::1"), "--from: '::1' is no IPv4"),
        (("emulate-client", "--server", DHCP, "--mac", "x"), "--mac: 'x' is not a MAC"),
        (("emulate-client", "--server", DHCP, "--class", "ä"), "--class: 'ä' is not printable"),
        (("emulate-client", "-i", "lo", "--port-offset", "9"), "--port-offset: frames go to"),
        (("emulate-client", "--server", DHCP, "--set", "device.x=1"), "device.x"),
    ],
)
def test_wrong_usage_is_one_line(
    phonesim: Phonesim, arguments: tuple[str, ...], complaint: str
) -> None:
    came = phonesim("dhcputil", *arguments)
    assert (came.status, came.out) == (2, "")
    assert complaint in came.err
    assert came.err.count("\n") == 1


def test_a_real_network_is_asked_about_first(phonesim: Phonesim) -> None:
    came = phonesim("dhcputil", "emulate-client", "--server", "192.0.2.1", "--from", "192.0.2.9")
    assert came.status == 2
    assert "to        192.0.2.1, port 67" in came.err
    assert "say --yes to agree without a terminal" in came.err


def test_decode_says_what_is_there(phonesim: Phonesim) -> None:
    came = phonesim("dhcputil", "decode", OPTION_43)
    assert came.status == 0
    assert "    21   3 Web Server FQDN                   23   server.fqdn.company.com" in came.out
    assert came.out.endswith("\nA phone accepts this.\n")


def test_decode_says_what_is_wrong(phonesim: Phonesim) -> None:
    document = phonesim("dhcputil", "decode", OPTION_43[:-2], "--json").document
    assert document["usable"] is False
    (option,) = document["options"]
    assert option["causes"] == ["option-43-cut"]
    assert option["parts"][-1]["name"] == "5 Relative Path for Cert Prov, cut short"
    assert option["parts"][-1]["offset"] == 51
    assert phonesim("dhcputil", "decode", OPTION_43[:-2]).status == 3


@pytest.mark.parametrize(
    "line",
    [
        " option 120 ascii sip.contoso.com",
        "netsh dhcp server set optionvalue 120 STRING sip.contoso.com",
    ],
)
def test_plain_text_is_neither_accepted_nor_refused(phonesim: Phonesim, line: str) -> None:
    came = phonesim("dhcputil", "decode", line)
    assert came.status == 3
    assert "Cause: option-120-raw-text: " in came.out
    assert "The emulated phone takes from it: sip.contoso.com:5061\n" in came.out
    assert came.out.endswith(
        "\nThe emulated phone accepts this; whether a real one does is not known.\n"
    )
    option = phonesim("dhcputil", "decode", line, "--json").document["options"][0]
    assert (option["usable"], option["doubtful"]) == (False, True)


def test_what_is_wrong_is_told_in_lines_of_80(phonesim: Phonesim) -> None:
    came = phonesim("dhcputil", "decode", "010c4d532d55432d436c69656e74031770")
    assert max(map(len, came.out.splitlines())) <= 80
    assert "at offset 14 is cut short: its length is 23,\n  but only 1 octet follows" in came.out


def test_words_of_a_line_need_no_quotes(phonesim: Phonesim) -> None:
    came = phonesim("dhcputil", "decode", "option", "120", "hex", OPTION_120)
    assert came.status == 0
    assert f"A phone takes from it: {NAME}:5061" in came.out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_a_configuration_is_read_from_a_file(
    phonesim: Phonesim, tmp_path: Path, encoding: str
) -> None:
    printed = phonesim("dhcputil", "config", "kea", "--sip-server", NAME).out
    path = tmp_path / "kea.conf"
    path.write_text(printed, encoding=encoding)
    document = phonesim("dhcputil", "decode", path, "--json").document
    assert document["usable"] is True
    assert {each["hex"] for each in document["options"]} == {OPTION_43, OPTION_120}
    assert document["source"] == str(path)


def test_a_file_that_is_none_is_refused(phonesim: Phonesim, tmp_path: Path) -> None:
    binary = tmp_path / "x.bin"
    binary.write_bytes(bytes(range(256)))
    huge = tmp_path / "huge.conf"
    with huge.open("wb") as file:
        file.truncate(17 << 20)
    assert "this is not text" in phonesim("dhcputil", "decode", binary).err
    assert "more than 16 MiB" in phonesim("dhcputil", "decode", huge).err


def test_output_goes_from_one_to_the_other(program: Callable[..., Any]) -> None:
    encode = program("dhcputil", "encode", "--sip-server", NAME)
    decode = program("dhcputil", "decode", "-", "--json", stdin=subprocess.PIPE)
    out, err = decode.communicate(encode.communicate()[0], timeout=30)
    assert (decode.returncode, err) == (0, "")
    assert [each["option"] for each in json.loads(out)["options"]] == [120, 43]


def test_a_capture_of_a_run_is_decoded(phonesim: Phonesim, tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    run = ("run", "power-cut", "-n", 3, "--out", tmp_path, "--pcap", path)
    phonesim(*run, "--fault", "option-43-cut")
    came = phonesim("dhcputil", "decode", path, "--json")
    assert came.status == 3
    by_option = {each["option"]: each for each in came.document["options"]}
    assert by_option[43]["causes"] == ["option-43-cut"]
    assert by_option[43]["origin"] == f"ACK of {DHCP}"
    assert by_option[43]["times"] == 3
    assert by_option[43]["frame"] > 0
    assert by_option[120]["usable"] is True
    path.write_bytes(path.read_bytes()[:200])
    cut = phonesim("dhcputil", "decode", path)
    assert cut.status == 2
    assert "no DHCP answer with option 43 or 120" in cut.err


def test_config_goes_to_stdout_alone(phonesim: Phonesim) -> None:
    came = phonesim("dhcputil", "config", "dnsmasq", "--sip-server", NAME)
    assert (came.status, came.err) == (0, "")
    assert came.out.splitlines()[0] == "dhcp-vendorclass=set:ms-uc-client,MS-UC-Client"
    cleanup = phonesim("dhcputil", "config", "windows-netsh", "--sip-server", NAME, "--cleanup")
    assert cleanup.out.splitlines()[0] == "netsh dhcp server delete optionvalue 120"


@pytest.fixture
def site(program: Callable[..., Any]) -> Iterator[Callable[..., int]]:
    """Starts a mock site; the offset of its ports."""
    started = []

    def start(*arguments: str) -> int:
        process = program("site", "--json", *arguments)
        started.append(process)
        text = ""
        while not text.endswith("}\n") or text.count("{") != text.count("}"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        return int(json.loads(text)["port_offset"])

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_a_client_is_answered_by_a_mock_site(phonesim: Phonesim, site: Callable[..., int]) -> None:
    where = ("--server", DHCP, "--port-offset", site(), "--from", CLIENT)
    came = phonesim("dhcputil", "emulate-client", *where, *QUICKLY)
    assert came.status == 0
    assert f"Answer 1: ACK of {DHCP} after " in came.out
    assert f"A phone uses answer 1, of {DHCP}:\n  https://webpool.contoso.com:443/" in came.out
    assert came.err == "No fault found.\n"

    came = phonesim("dhcputil", "emulate-client", *where, *QUICKLY, "--class", "ms-uc-client")
    assert came.status == 3
    assert max(map(len, came.out.splitlines())) <= 80
    assert came.out.index("Finding: inform-class-wrong: ") < came.out.index(
        "Finding: option-43-missing: DHCP gives no option 43\n"
    )
    assert "A phone misses the Web Services URL" in came.out


def test_a_site_on_loopback_is_asked_from_an_address_that_it_knows(
    phonesim: Phonesim, site: Callable[..., int]
) -> None:
    where = ("--server", DHCP, "--port-offset", site())
    came = phonesim("dhcputil", "emulate-client", *where, *QUICKLY)
    assert came.status == 0
    assert came.err.startswith("Asking from 127.20.255.254; --from names another address")


def test_a_faulty_site_is_found_faulty(phonesim: Phonesim, site: Callable[..., int]) -> None:
    offset = site("--fault", "option-43-cut")
    where = ("--server", DHCP, "--port-offset", offset, "--from", CLIENT)
    came = phonesim("dhcputil", "emulate-client", *where, *QUICKLY, "--json")
    assert came.status == 3
    document = came.document
    (finding,) = document["findings"]
    assert (finding["cause"], finding["certainty"]) == ("option-43-cut", "certain")
    assert finding["evidence"][0]["where"] == "answer 1"
    assert document["used"] == 1
    assert document["answers"][0]["inspected"][1]["usable"] is True
    assert len(document["misses"]) == 1


def test_nobody_answers(phonesim: Phonesim) -> None:
    where = ("--server", "127.20.0.99", "--port-offset", "41000", "--from", CLIENT)
    came = phonesim("dhcputil", "emulate-client", *where, *QUICKLY)
    assert came.status == 3
    lines = came.out.splitlines()
    assert lines[0] == "No answer to INFORM, which was sent 2 times."
    assert lines[1].startswith("A phone misses all of it")
    assert lines[3] == "Finding: inform-unanswered: no server answers DHCPINFORM"
    assert any(line.startswith("  Why: ") for line in lines)


def test_ctrl_c_shows_what_came_and_counts_as_interrupted(program: Callable[..., Any]) -> None:
    where = ("--server", "127.20.0.99", "--port-offset", "41100", "--from", CLIENT)
    process = program("dhcputil", "emulate-client", *where, "--wait", "60", "--json")
    bound = f"{int.from_bytes(bytes(map(int, reversed(CLIENT.split('.'))))):08X}:{68 + 41100:04X}"
    give_up_at = time.monotonic() + 20
    while bound not in Path("/proc/net/udp").read_text():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 4
    assert json.loads(out)["answers"] == []
    assert err == "phonesim: interrupted\n"
