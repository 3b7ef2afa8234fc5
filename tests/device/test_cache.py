from __future__ import annotations

import json
from math import inf

import msgspec
import pytest
from leases import long_lease
from playing import matching, play

from phonesim.device import device_log as log
from phonesim.device.actions import WriteFile
from phonesim.device.cache import CACHE_FILE, Cache
from phonesim.device.events import (
    CacheLoaded,
    CacheUnusable,
    CommitWanted,
    DhcpAnswerKept,
    DnsAnswerKept,
    LeaseBound,
    PowerApplied,
    RegistrarAddress,
    ServicesLocated,
    ShutdownRequested,
    WebServicesAddress,
)

PATH = "/CertProv/CertProvisioningService.svc"
EMPTY = CacheLoaded(address=None, services=None)


def web(host="webpool.contoso.com", source="dhcp:10.0.0.1"):
    return WebServicesAddress(scheme="https", host=host, port=443, path=PATH, source=source)


def registrar(host="fe01.contoso.com", source="dhcp:10.0.0.1"):
    return RegistrarAddress(host=host, port=5061, transport="tls", source=source)


def leased(address):
    return LeaseBound(lease=long_lease(address))


def kept(server="10.0.0.1", web_services=None, *registrars):
    return DhcpAnswerKept(server=server, web_services=web_services, registrars=registrars)


def commit(*registrars):
    return CommitWanted(web_services=web(), registrars=registrars, sip_uri="sip:u@contoso.com")


class Disk:
    """A cache and the file that it keeps."""

    def __init__(self, path=PATH):
        self.path = path
        self.files = {}
        self.cache = self.reboot()[0]

    def give(self, *events):
        for event in events:
            for output in self.cache.handle(event, 0.0):
                if isinstance(output, WriteFile):
                    self.files[output.name] = output.data

    def reboot(self):
        self.cache = Cache(self.path)
        outputs = self.cache.handle(PowerApplied(files=dict(self.files)), 0.0)
        (loaded,) = [item for item in outputs if isinstance(item, CacheLoaded)]
        return self.cache, loaded

    def loaded(self):
        return self.reboot()[1]

    def content(self):
        return json.loads(self.files[CACHE_FILE])


def test_an_empty_disk_holds_nothing():
    play(Cache(PATH), [(0.0, PowerApplied(), [log.CACHE_EMPTY(), EMPTY])])


def test_the_last_address_is_kept_for_the_next_boot_until_it_is_released():
    disk = Disk()
    disk.give(leased("10.0.0.50"))
    assert disk.loaded() == CacheLoaded(address="10.0.0.50", services=None)
    disk.give(leased("10.0.0.51"))
    assert disk.loaded().address == "10.0.0.51"
    disk.give(ShutdownRequested())
    assert disk.loaded() == EMPTY


def test_the_whole_lease_is_kept_if_the_phone_may_go_on_with_it():
    files = {}

    def cache():
        return Cache(PATH, keeps_lease=True)

    def keep(event):
        (write,) = first.handle(event, 0.0)
        files[write.name] = write.data
        return cache().handle(PowerApplied(files=files), 0.0)[-1].lease

    first = cache()
    bound = leased("10.0.0.50")
    assert keep(bound) == bound.lease
    renewed = msgspec.structs.replace(bound.lease, expires_at=4e6)
    assert keep(LeaseBound(lease=renewed, is_renewal=True)) == renewed
    forever = msgspec.structs.replace(renewed, t1_at=inf, t2_at=inf, expires_at=inf)
    assert keep(LeaseBound(lease=forever)).t1_at > 1e12  # the file cannot say infinity
    assert keep(ShutdownRequested()) is None


def test_a_renewed_address_writes_nothing():
    cache = Cache(PATH)
    cache.handle(leased("10.0.0.50"), 0.0)
    play(cache, [(1.0, leased("10.0.0.50"), [])])


def test_without_an_address_shutdown_writes_nothing():
    play(Cache(PATH), [(0.0, ShutdownRequested(), [])])


def test_every_dhcp_answer_is_kept_and_one_a_server():
    disk = Disk()
    disk.give(
        kept("10.0.0.1", web(), registrar()),
        kept("10.0.0.2", web("other.contoso.com")),
        kept("10.0.0.2", None, registrar("fe02.contoso.com")),
    )
    assert [
        (answer["server"], answer["web_services"] and answer["web_services"]["host"])
        for answer in disk.content()["dhcp"]
    ] == [("10.0.0.1", "webpool.contoso.com"), ("10.0.0.2", None)]


def test_what_is_kept_is_logged():
    cache = Cache(PATH)
    assert log.CACHE_KEPT_DHCP("10.0.0.1") in cache.handle(kept("10.0.0.1", web()), 0.0)
    event = DnsAnswerKept(registrars=(registrar("fe01.x"), registrar("fe02.x")))
    assert log.CACHE_KEPT_DNS("fe01.x+fe02.x") in cache.handle(event, 0.0)


def test_the_first_kept_dhcp_answer_is_used():
    disk = Disk()
    disk.give(
        kept("10.0.0.1", web(), registrar()),
        kept("10.0.0.2", web("other.contoso.com"), registrar("fe09.contoso.com")),
    )
    services = ServicesLocated(web_services=web(), registrars=(registrar(),))
    assert disk.loaded() == CacheLoaded(address=None, services=services)


def test_kept_dns_registrars_stand_in_for_a_missing_option_120():
    disk = Disk()
    dns = registrar("fe03.contoso.com", "dns:_sipinternaltls._tcp.contoso.com")
    disk.give(kept("10.0.0.1", web()), DnsAnswerKept(registrars=(dns,)))
    assert disk.loaded().services == ServicesLocated(web_services=web(), registrars=(dns,))


def test_a_kept_dns_registrar_s_name_gives_the_url_if_the_profile_permits_it():
    dns = registrar("fe03.contoso.com", "dns:x")
    permitting, refusing = Disk(), Disk(path=None)
    for disk in (permitting, refusing):
        disk.give(DnsAnswerKept(registrars=(dns,)))
    url = web("fe03.contoso.com", "dns:x")
    assert permitting.loaded().services == ServicesLocated(web_services=url, registrars=(dns,))
    assert refusing.loaded().services is None


@pytest.mark.parametrize("event", [kept("10.0.0.1", web()), kept("10.0.0.1", None, registrar())])
def test_one_address_of_two_is_not_enough(event):
    disk = Disk()
    disk.give(event)
    assert disk.loaded().services is None


def test_a_commit_clears_what_discovery_kept_and_keeps_what_is_in_use():
    disk = Disk()
    first, second = registrar("fe01.contoso.com"), registrar("fe02.contoso.com")
    disk.give(
        leased("10.0.0.50"),
        kept("10.0.0.1", web(), first),
        kept("10.0.0.2", web("other.contoso.com")),
        DnsAnswerKept(registrars=(second,)),
    )
    play(
        disk.cache,
        [
            (
                0.0,
                commit(second, first),
                [
                    log.CACHE_COMMITTED(
                        web().url,
                        "fe02.contoso.com+fe01.contoso.com",
                        "sip:u@contoso.com",
                        2,
                        1,
                    ),
                    WriteFile(name=CACHE_FILE, data=written(disk, commit(second, first))),
                ],
            )
        ],
    )
    content = json.loads(written(disk, commit(second, first)))
    assert (content["dhcp"], content["dns"], content["address"]) == ([], [], "10.0.0.50")
    assert [entry["host"] for entry in content["in_use"]["registrars"]] == [
        "fe02.contoso.com",
        "fe01.contoso.com",
    ]


def written(disk, event):
    """What handling the event writes, seen on a second cache with the same file."""
    twin = Cache(PATH)
    twin.handle(PowerApplied(files=dict(disk.files)), 0.0)
    (write,) = [item for item in twin.handle(event, 0.0) if isinstance(item, WriteFile)]
    return write.data


def test_values_in_use_count_before_what_was_kept_later():
    disk = Disk()
    disk.give(commit(registrar()), kept("10.0.0.2", web("late.contoso.com"), registrar("fe09.x")))
    play(
        Cache(PATH),
        [
            (
                0.0,
                PowerApplied(files=disk.files),
                [
                    log.CACHE_USED(web().url, "fe01.contoso.com", "in-use"),
                    CacheLoaded(
                        address=None,
                        services=ServicesLocated(web_services=web(), registrars=(registrar(),)),
                    ),
                ],
            )
        ],
    )


def test_what_is_kept_but_not_yet_in_use_is_called_discovered():
    disk = Disk()
    disk.give(kept("10.0.0.1", web(), registrar()))
    records = Cache(PATH).handle(PowerApplied(files=disk.files), 0.0)
    assert matching(log.CACHE_USED, kept="discovered") in records


def test_what_proves_unusable_is_forgotten_but_not_the_address():
    disk = Disk()
    disk.give(leased("10.0.0.50"), kept("10.0.0.1", web(), registrar()), commit(registrar()))
    disk.give(CacheUnusable(detail="chain: refused"))
    assert disk.loaded() == CacheLoaded(address="10.0.0.50", services=None)
    records = disk.cache.handle(CacheUnusable(detail="chain: refused"), 0.0)
    assert log.CACHE_UNUSABLE("chain: refused") in records


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b'"\xff"',
        b"[]",
        b"null",
        b'{"address": 7}',
        b'{"address": null, "surprise": 1}',
        b'{"in_use": {"web_services": null, "registrars": [], "sip_uri": ""}}',
        b'{"dhcp": [{"server": "x"}]}',
        b"[" * 100_000,
        b'{"address": "\xff"}',
    ],
    ids=range(12),
)
def test_a_corrupt_file_is_reported_and_treated_as_empty(data):
    play(
        Cache(PATH),
        [
            (
                0.0,
                PowerApplied(files={CACHE_FILE: data}),
                [matching(log.CACHE_CORRUPT, file=CACHE_FILE), log.CACHE_EMPTY(), EMPTY],
            )
        ],
    )


def test_after_a_corrupt_file_the_next_write_is_whole_again():
    disk = Disk()
    disk.files = {CACHE_FILE: b"{"}
    disk.reboot()
    disk.give(leased("10.0.0.50"))
    assert disk.loaded() == CacheLoaded(address="10.0.0.50", services=None)


def test_the_cache_waits_for_nothing():
    assert Cache(PATH).next_deadline() is None
