import subprocess
import sys
from pathlib import Path

from phonesim.drivers.key_pool import PhoneKey

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "phonesim.drivers.key_worker"]


def test_a_worker_prints_its_share_of_keys() -> None:
    ended = subprocess.run([*COMMAND, "2"], cwd=ROOT, capture_output=True, check=True)
    keys = [PhoneKey(bytes.fromhex(line)) for line in ended.stdout.decode().splitlines()]
    assert len({key.der for key in keys}) == 2
    assert ended.stderr == b""


def test_a_worker_whose_reader_is_gone_ends_quietly() -> None:
    with subprocess.Popen(
        [*COMMAND, "3"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        worker.stdout.close()
        assert worker.stderr.read() == b""
