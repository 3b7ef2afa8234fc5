import contextlib
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from phonesim.drivers.capture_file import BUFFER, CaptureFile
from phonesim.errors import UsageError

BLOCK = b"0123456789abcdef" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.pcapng"


@pytest.fixture
def little_room() -> Iterator[int]:
    """No file of this process may be larger than so many octets, as on a full disk."""
    room = 100 * len(BLOCK) + 100
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
    yield room
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_only_its_owner_reads_a_capture(path: Path) -> None:
    with CaptureFile(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_blocks_are_written_when_they_are_flushed_or_many(path: Path) -> None:
    with CaptureFile(path) as file:
        file.write(BLOCK)
        assert path.read_bytes() == b""
        file.flush()
        assert path.read_bytes() == BLOCK
        for _ in range(BUFFER // len(BLOCK)):
            file.write(BLOCK)
        assert path.stat().st_size == len(BLOCK) + BUFFER
        file.write(b"last")
    assert path.read_bytes() == BLOCK * (1 + BUFFER // len(BLOCK)) + b"last"
    assert file.notes() == ()


def test_what_comes_before_an_exception_is_kept(path: Path) -> None:
    with contextlib.suppress(RuntimeError), CaptureFile(path) as file:
        file.write(BLOCK)
        raise RuntimeError
    assert path.read_bytes() == BLOCK


def test_a_file_that_is_discarded_is_gone(path: Path) -> None:
    with CaptureFile(path) as file:
        file.write(BLOCK)
        file.discard()
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("there", "there: it exists already; name another file, or remove it"),
        ("folder", "folder: it is a folder; name a file in it"),
        ("none/x.pcapng", "x.pcapng: there is no folder .*none; make it, or name another file"),
        ("there/x", "there/x: cannot be written: Not a directory; name another file"),
        ("x" * 300, "cannot be written: File name too long; name another file"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "there").write_text("precious")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=told):
        CaptureFile(tmp_path / name)
    assert (tmp_path / "there").read_text() == "precious"


def test_a_disk_that_becomes_full_ends_the_capture_at_a_whole_block(
    path: Path, little_room: int
) -> None:
    with CaptureFile(path) as file:
        for _ in range(90):
            file.write(BLOCK)
        file.flush()
        for _ in range(20):
            file.write(BLOCK)
        file.flush()
        file.write(BLOCK)
    assert path.read_bytes() == BLOCK * 90
    [note] = file.notes()
    assert note.startswith(f"--pcap {path}: cannot be written: File too large")


def test_a_disk_that_is_full_is_said_before_the_run(path: Path, little_room: int) -> None:
    with CaptureFile(path) as file, pytest.raises(UsageError, match="cannot be written"):
        file.write(bytes(little_room + 1))
    assert path.read_bytes() == b""


def test_nobody_else_is_given_the_file(path: Path) -> None:
    with CaptureFile(path):
        descriptors = [
            number
            for number in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{number}")
            and os.path.samefile(f"/proc/self/fd/{number}", path)
        ]
        assert [os.get_inheritable(int(number)) for number in descriptors] == [False]
