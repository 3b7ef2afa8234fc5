from phonesim.config.device_profile import DeviceLogConfig
from phonesim.device import device_log as log
from phonesim.device.actions import WriteLog
from phonesim.device.cache import CACHE_FILE
from phonesim.drivers.run_folder import RunFolder
from phonesim.field.followed_folder import FollowedFolder
from phonesim.profiles import DEVICE, load

PHONE = "00-04-F2-00-00-01"
LINE = WriteLog(records=(log.CACHE_EMPTY(),), clock=0.0, tick=7)


def profile() -> DeviceLogConfig:
    return load(DEVICE, "polycom-cx600").log


def test_what_a_phone_writes_is_heard_and_is_on_its_disk(tmp_path):
    heard = []
    folder = RunFolder.create(tmp_path, "run")
    followed = FollowedFolder(folder, lambda *each: heard.append(each), None)
    disk = followed.disk(PHONE, profile())
    assert disk.files() == {}
    disk.append_log(LINE)
    assert heard == [(PHONE, LINE)]
    disk.write_file("a", b"1")
    disk.write_file("b", b"2")
    disk.delete_file("a")
    disk.settled(is_well=True)
    disk.flush()
    assert disk.files() == {"b": b"2"}
    assert b"Cache empty" in (folder.path / PHONE / "DSK1/logs/cpsw3g.log").read_bytes()


def test_a_cache_comes_over_what_an_earlier_run_left(tmp_path):
    earlier = RunFolder.create(tmp_path, "earlier")
    disk = earlier.disk(PHONE, profile())
    disk.write_file(CACHE_FILE, b"good")
    disk.write_file("identity.json", b"kept")
    disk.flush()
    folder = RunFolder.create(tmp_path, "run", earlier=earlier.path)
    followed = FollowedFolder(folder, lambda *each: None, b"stale")
    assert followed.disk(PHONE, profile()).files() == {
        CACHE_FILE: b"stale",
        "identity.json": b"kept",
    }
