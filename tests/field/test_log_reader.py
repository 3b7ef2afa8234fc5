from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.device.device_log import Dialect
from phonesim.errors import UsageError
from phonesim.field.log_reader import (
    LONGEST_LINE,
    MOST_SAMPLES,
    LogReading,
    dialects_of,
    read_log,
    shipped_dialects,
)
from phonesim.field.sightings import Sighting
from phonesim.profiles import DEVICE, load

GOLDEN = Path(__file__).parents[1] / "golden" / "logs"
COLD_BOOT = (GOLDEN / "cold-boot.log").read_bytes()
LINES = COLD_BOOT.splitlines(keepends=True)
DIALECTS = shipped_dialects()


def read(*files: Path, phone_id: str | None = None) -> tuple[list[Sighting], list[LogReading]]:
    readings: list[LogReading] = []
    return list(read_log(files, DIALECTS, readings, phone_id)), readings


def write(folder: Path, data: bytes, name: str = "cpsw3g.log") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_every_line_is_a_sighting_with_its_place_and_text(tmp_path: Path) -> None:
    path = write(tmp_path, COLD_BOOT)
    sightings, (reading,) = read(path)
    assert len(sightings) == len(LINES) == reading.records == reading.lines
    assert (reading.unknown, reading.notes) == (0, [])
    assert [str(each.place) for each in sightings[:2]] == [f"{path}:1", f"{path}:2"]
    assert sightings[0].name == "power_applied"
    assert sightings[0]["model"] == "CX600"
    assert sightings[0].text == LINES[0].decode().rstrip()
    assert sightings[-1].at == int(LINES[-1].split(b"|")[1]) / 1000


@pytest.mark.parametrize(
    "data",
    [
        COLD_BOOT.replace(b"\r\n", b"\n"),
        b"\xef\xbb\xbf" + COLD_BOOT,
        COLD_BOOT.decode().encode("utf-16"),
        COLD_BOOT.decode().encode("utf-16-le"),
        COLD_BOOT.decode().encode("utf-16-be"),
        COLD_BOOT.rstrip(),
        COLD_BOOT + b"\0" * 4096,
        COLD_BOOT.replace(b"\r\n", b"\r\n\r\n"),
    ],
    ids=["LF", "BOM", "UTF-16", "LE", "BE", "no last line end", "NULs behind", "empty lines"],
)
def test_texts_differ_and_are_read(tmp_path: Path, data: bytes) -> None:
    sightings, (reading,) = read(write(tmp_path, data))
    assert len(sightings) == len(LINES)
    assert reading.unknown == 0


def test_the_phone_is_named_by_itself_or_by_a_folder(tmp_path: Path) -> None:
    own = "00-04-F2-00-00-01"
    assert {each.phone_id for each in read(write(tmp_path, COLD_BOOT))[0]} == {own}
    folder = tmp_path / "64-16-7F-00-00-02" / "DSK1" / "logs"
    folder.mkdir(parents=True)
    named = write(folder, COLD_BOOT)
    assert {each.phone_id for each in read(named)[0]} == {"64-16-7F-00-00-02"}
    assert {each.phone_id for each in read(named, phone_id="desk")[0]} == {"desk"}


def test_a_phone_that_is_named_later_is_the_one_from_the_start(tmp_path: Path) -> None:
    older = write(tmp_path, b"".join(LINES[8:]), "cpsw3g.bak")
    newer = write(tmp_path, COLD_BOOT)
    sightings, _ = read(older, newer)
    assert len(sightings) == 2 * len(LINES) - 8
    assert {each.phone_id for each in sightings} == {"00-04-F2-00-00-01"}


def test_files_of_one_name_that_begin_in_a_boot_are_of_two_phones(tmp_path: Path) -> None:
    owners = set()
    for desk in ("a", "b"):
        (tmp_path / desk).mkdir()
        owners |= {each.phone_id for each in read(write(tmp_path / desk, LINES[8]))[0]}
    assert owners == {str(tmp_path / desk / "cpsw3g.log") for desk in ("a", "b")}


def test_lines_that_are_not_known_are_counted_and_a_few_are_kept(tmp_path: Path) -> None:
    strange = [b"CPSW3G Miniport driver version:1.0\r\n"] * 40
    sightings, (reading,) = read(write(tmp_path, b"".join(LINES[:5] + strange + LINES[5:])))
    assert len(sightings) == len(LINES)
    assert reading.unknown == 40
    assert len(reading.samples) == MOST_SAMPLES
    place, text = reading.samples[0]
    assert (place.number, text) == (6, "CPSW3G Miniport driver version:1.0")


def test_what_is_cut_off_is_said(tmp_path: Path) -> None:
    sightings, (reading,) = read(write(tmp_path, b"".join(LINES[8:20]) + LINES[20][:40]))
    assert len(sightings) == 12
    assert reading.notes == ["it begins in the middle of a boot", "it ends in the middle of a line"]
    assert reading.unknown == 0


def test_a_log_goes_on_in_its_next_file(tmp_path: Path) -> None:
    older = write(tmp_path, b"".join(LINES[:30]), "cpsw3g.bak")
    newer = write(tmp_path, b"".join(LINES[30:]))
    sightings, readings = read(older, newer)
    assert len(sightings) == len(LINES)
    assert {each.phone_id for each in sightings} == {"00-04-F2-00-00-01"}
    assert [reading.notes for reading in readings] == [[], []]


def test_a_line_without_end_is_no_trouble(tmp_path: Path) -> None:
    long = b"x" * (3 * LONGEST_LINE) + b"\r\n"
    sightings, (reading,) = read(write(tmp_path, LINES[0] + long + LINES[1]))
    assert [each.place.number for each in sightings] == [1, 3]
    assert reading.unknown == 1
    assert len(reading.samples[0][1]) == 200


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08", "compressed: unpack"),
        (b"\0" * 40, "octet 0 is 00: binary"),
        (b"MZ\x90\x00\x03", "octet 3 is 00: binary"),
        (b"\xff\xfea", "is no text"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    with pytest.raises(UsageError, match=f"cpsw3g.log: .*{told}"):
        read(write(tmp_path, data))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.log: cannot be read: No such file"):
        read(tmp_path / "nothing.log")


@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("any"), LINES[0] + data)
    try:
        sightings, _ = read(path)
    except UsageError:
        return
    assert sightings[0].name == "power_applied"


def test_profiles_with_the_same_texts_have_one_dialect() -> None:
    profile = load(DEVICE, "polycom-cx600")
    copy = profile.model_copy()
    assert len(dialects_of([profile, profile, copy])) == 1


def test_the_shipped_dialects_are_each_there_once() -> None:
    assert 1 <= len(DIALECTS) <= 7
    assert all(isinstance(dialect, Dialect) for dialect in DIALECTS)
