"""Phones that do only the first stages of a boot."""

from __future__ import annotations

import pytest
from rig import (
    ADDRESS,
    DNS,
    EXTERNAL,
    FE01,
    INTERNAL,
    POOL,
    PROFILE,
    SIP_URI,
    TRUE_TIME,
    Bench,
    of,
)

from phonesim.device import device_log as log
from phonesim.device.actions import (
    CloseConnection,
    ConfigureAddress,
    DeleteFile,
    OpenConnection,
    ProbeAddress,
    RemoveAddress,
    SendDhcp,
    SendDns,
    SendHttp,
    SendNtp,
    SendSip,
    WriteFile,
)
from phonesim.device.events import (
    BootFailed,
    ConnectionClosed,
    ExchangeEnded,
    Lease,
    PowerApplied,
    PoweredOff,
    RegistrarAddress,
    RegistrationLost,
    RegistrationRegained,
    RegistrationWanted,
    RepetitionDue,
    ShutdownRequested,
    SignedIn,
    StageEnded,
    StageEntered,
    StagesDone,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.wire.dhcp import MessageType
from phonesim.wire.sip import Challenge

FOREVER = float("inf")
FIXED = Lease(
    address=ADDRESS,
    subnet_mask="255.255.255.0",
    server="",
    t1_at=FOREVER,
    t2_at=FOREVER,
    expires_at=FOREVER,
    routers=("10.0.0.254",),
    dns_servers=(DNS,),
    domain="contoso.com",
)


def address_only(files=None):
    return Bench(files, first_stage=Stage.IP, last_stage=Stage.IP)


def up_to_discovery(files=None):
    return Bench(files, first_stage=Stage.IP, last_stage=Stage.DISCOVERY)


def fixed(files=None):
    bench = unprobed(files)
    bench.probe()
    return bench


def unprobed(files=None):
    return Bench(files, last_stage=Stage.DISCOVERY, fixed_lease=FIXED)


def dones(bench):
    return len(of(bench.all, StagesDone))


def stages(bench):
    return [
        (seen.stage, "begun" if isinstance(seen, StageEntered) else seen.reason or "ok")
        for seen in bench.all
        if isinstance(seen, StageEntered | StageEnded)
    ]


def sent_types(bench):
    return [sent.message.message_type.name for sent in of(bench.all, SendDhcp)]


def exchanges(bench):
    return [seen.kind for seen in of(bench.all, ExchangeEnded)]


def answer(bench):
    bench.inform_ack(host=POOL, registrars=(FE01,))


def test_a_phone_that_ends_with_its_address_is_done_when_the_lease_is_bound():
    bench = address_only()
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK)
    assert not dones(bench)
    bench.probe()
    assert dones(bench) == 1
    assert stages(bench) == [(Stage.IP, "begun"), (Stage.IP, "ok")]
    assert sent_types(bench) == ["DISCOVER", "REQUEST"]
    for never in (SendNtp, SendDns, SendHttp, OpenConnection, SignedIn):
        assert not of(bench.all, never)


def test_it_renews_its_lease_and_is_done_no_second_time():
    bench = address_only()
    bench.bind()
    bench.wait_for(SendDhcp)
    bench.dhcp(MessageType.ACK)
    assert exchanges(bench).count("dhcp_request") == 2
    assert dones(bench) == 1


def test_it_is_done_again_when_it_has_lost_its_lease_and_found_another():
    bench = address_only()
    bench.bind()
    bench.wait_for(SendDhcp)
    bench.dhcp(MessageType.NAK)
    assert stages(bench)[-1] == (Stage.IP, "begun")
    if not bench.wants(SendDhcp):
        bench.wait_for(SendDhcp)
    bench.bind(address="10.0.0.51")
    assert dones(bench) == 2


def test_it_fails_without_a_lease_and_is_done_when_a_server_answers_later():
    bench = address_only()
    bench.wait_for(BootFailed, reason=FailureReason.NO_LEASE)
    bench.probe()
    bench.wait_for(SendDhcp)
    bench.bind()
    assert dones(bench) == 1


def test_it_releases_its_lease_at_the_end():
    bench = address_only()
    bench.bind()
    outputs = bench.give(ShutdownRequested())
    assert sent_types(bench)[-1] == "RELEASE"
    assert of(outputs, RemoveAddress)
    assert of(outputs, PoweredOff)


def test_a_phone_that_ends_with_discovery_does_without_the_time():
    bench = up_to_discovery()
    bench.bind()
    assert sent_types(bench) == ["DISCOVER", "REQUEST", "INFORM"]
    assert bench.asked(INTERNAL)
    assert not dones(bench)
    answer(bench)
    assert dones(bench) == 1
    assert [stage for stage, what in stages(bench) if what == "ok"] == [Stage.IP, Stage.DISCOVERY]
    for never in (SendNtp, SendHttp, SignedIn):
        assert not of(bench.all, never)


def test_its_other_queries_are_still_answered_and_counted():
    bench = up_to_discovery()
    bench.bind()
    answer(bench)
    bench.no_srv()
    assert exchanges(bench).count("dns") == 2
    assert dones(bench) == 1


def test_it_is_done_with_what_dns_says():
    bench = up_to_discovery()
    bench.bind()
    bench.resolve(INTERNAL, (10, 5061, FE01))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    bench.wait_for(StagesDone)
    assert dones(bench) == 1


def test_it_fails_when_nothing_is_found_and_looks_again_without_asking_the_time():
    bench = up_to_discovery()
    bench.bind()
    bench.no_srv()
    bench.inform_ack()
    while not bench.wants(BootFailed):
        asked = [sent.query.qname for sent in bench.wants(SendDns)]
        for qname in asked:
            bench.resolve(qname, rcode="NXDOMAIN")
        if not asked:
            bench.wait()
    assert bench.last(BootFailed).reason is FailureReason.WEB_SERVICES_NOT_LOCATED
    assert not dones(bench)
    informs = len(bench.informs())
    while len(bench.informs()) == informs:
        bench.wait()
    answer(bench)
    assert dones(bench) == 1
    assert not of(bench.all, SendNtp)


def test_its_second_boot_takes_what_the_first_has_cached():
    first = up_to_discovery()
    first.bind()
    answer(first)
    second = up_to_discovery(first.files)
    second.bind()
    assert dones(second) == 1
    assert of(second.all, StageEnded, stage=Stage.DISCOVERY, skipped=True)
    assert sent_types(second) == ["REQUEST"]


def test_a_phone_with_a_fixed_address_asks_no_server_for_one():
    bench = fixed()
    configured = of(bench.all, ConfigureAddress)
    assert [(each.address, each.routers) for each in configured] == [(ADDRESS, ("10.0.0.254",))]
    assert bench.all.index(configured[0]) < bench.all.index(bench.last_inform())
    assert sent_types(bench) == ["INFORM"]
    assert bench.last_inform().source == ADDRESS
    assert (bench.asked(INTERNAL).source, bench.asked(INTERNAL).server) == (ADDRESS, DNS)
    answer(bench)
    assert dones(bench) == 1
    assert stages(bench) == [(Stage.DISCOVERY, "begun"), (Stage.DISCOVERY, "ok")]
    assert not bench.records(log.DHCP_LEASE)


def test_it_does_nothing_before_it_knows_that_the_address_is_free():
    bench = unprobed()
    assert [probe.address for probe in of(bench.all, ProbeAddress)] == [ADDRESS]
    for never in (ConfigureAddress, SendDhcp, SendDns):
        assert not of(bench.all, never)


def test_an_address_that_another_host_has_is_not_used():
    bench = unprobed()
    outputs = bench.probe("02-00-00-00-00-99")
    (failed,) = of(outputs, BootFailed)
    assert (failed.stage, failed.reason) == (Stage.IP, FailureReason.ADDRESS_IN_USE)
    assert (failed.detail, failed.retry_in) == ("02-00-00-00-00-99 has it", None)
    assert bench.records(log.ADDRESS_CONFLICT) == [(ADDRESS, "02-00-00-00-00-99")]
    for never in (ConfigureAddress, SendDhcp, SendDns):
        assert not of(bench.all, never)
    assert bench.phone.next_deadline() is None
    assert of(bench.give(ShutdownRequested()), PoweredOff)


def alone(**discovery):
    config = PROFILE.discovery.model_copy(update={"asks_dhcp": False, **discovery})
    profile = PROFILE.model_copy(update={"discovery": config})
    bench = Bench(profile=profile, last_stage=Stage.DISCOVERY, fixed_lease=FIXED)
    bench.probe()
    return bench


def test_dns_alone_decides_when_dhcp_is_not_to_be_asked():
    bench = alone()
    bench.resolve(INTERNAL, (10, 5061, FE01))
    assert not dones(bench)
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    assert dones(bench) == 1
    assert exchanges(bench) == ["dns", "dns"]
    assert sent_types(bench) == []
    assert bench.records(log.RACE_WON) == [(f"dns:{INTERNAL}", "DHCP is not asked")]
    assert bench.phone.next_deadline() is None


def test_it_fails_by_what_dns_says():
    bench = alone(fallback_names=())
    bench.no_srv()
    failed = bench.last(BootFailed)
    assert failed.reason is FailureReason.WEB_SERVICES_NOT_LOCATED
    assert failed.detail == "DHCP is not asked; DNS has no record for a Registrar of contoso.com"


def test_when_it_is_due_again_it_remembers_nothing():
    bench = alone()
    bench.resolve(INTERNAL, (10, 5061, FE01), ttl=3600)
    bench.resolve(EXTERNAL, (10, 5061, FE01), ttl=3600)
    outputs = bench.give(RepetitionDue(), after=5)
    assert [sent.query.qname for sent in of(outputs, SendDns)] == [INTERNAL, EXTERNAL]
    assert [each.name for each in of(outputs, DeleteFile)] == ["cache.json"]
    assert not of(outputs, ProbeAddress)
    bench.resolve(INTERNAL, (10, 5061, FE01))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    assert dones(bench) == 2
    assert stages(bench) == 2 * [(Stage.DISCOVERY, "begun"), (Stage.DISCOVERY, "ok")]


@pytest.mark.parametrize("is_done", [True, False])
def test_it_has_nothing_to_release(is_done):
    bench = fixed()
    if is_done:
        answer(bench)
    assert of(bench.give(ShutdownRequested()), PoweredOff)
    assert sent_types(bench) == ["INFORM"]
    assert bench.phone.next_deadline() is None


# --- a Registrar alone ---

TYPED = RegistrationWanted(
    registrars=(RegistrarAddress(host=FE01, port=5061, transport="tls", source="typed"),),
    sip_uri=SIP_URI,
    certificate=b"",
    chain=b"the chain",
    source=ADDRESS,
)
CHALLENGE = Challenge(scheme="Digest", parameters=(("realm", "r"), ("nonce", "n"), ("qop", "auth")))


class Typed(Bench):
    """A phone with nothing to do but to register, and its clock set."""

    def __init__(self, files=None):
        super().__init__(
            files,
            first_stage=Stage.REGISTER,
            last_stage=Stage.REGISTER,
            fixed_lease=FIXED,
            fixed_registration=TYPED,
        )
        self.probe()

    def give(self, event, after=0.0):
        if isinstance(event, PowerApplied):
            event = PowerApplied(files=event.files, clock=TRUE_TIME)
        return super().give(event, after)

    def challenge(self):
        """Answer with a 401."""
        return self.sip(401, "Unauthorized", challenges=(CHALLENGE,))

    def registered(self):
        """The phone, registered with Digest."""
        self.connect()
        self.challenge()
        self.accept()
        return self

    def expires(self):
        """What all its REGISTERs asked for."""
        return [sent.message.expires for sent in of(self.all, SendSip)]


def test_a_phone_that_only_registers_is_done_when_it_is_registered():
    bench = Typed()
    opened = bench.connect() and bench.last(OpenConnection)
    assert (opened.trust, opened.server_name, opened.source) == (b"the chain", FE01, ADDRESS)
    assert opened.clock == pytest.approx(TRUE_TIME + bench.now)
    bench.challenge()
    assert not dones(bench)
    bench.accept()
    assert dones(bench) == 1
    assert stages(bench) == [(Stage.REGISTER, "begun"), (Stage.REGISTER, "ok")]
    (credentials,) = bench.last(SendSip).message.credentials
    assert dict(credentials.parameters)["username"] == "user00001"
    for never in (SendNtp, SendHttp, SendDhcp, SignedIn, WriteFile):
        assert not of(bench.all, never)


def test_it_refreshes_and_is_done_no_second_time():
    bench = Typed().registered()
    while bench.expires() == [600, 600]:
        bench.wait()
    bench.accept()
    assert bench.expires() == [600, 600, 600]
    assert dones(bench) == 1


def test_it_deregisters_at_the_end_even_if_it_is_challenged():
    bench = Typed().registered()
    bench.give(ShutdownRequested())
    assert bench.expires() == [600, 600, 0]
    assert not of(bench.challenge(), PoweredOff)  # the nonce was too old by then
    assert bench.expires() == [600, 600, 0, 0]
    assert of(bench.sip(200), PoweredOff)
    assert bench.phone.next_deadline() is None


def test_when_it_is_due_again_it_deregisters_and_registers_over_another_connection():
    bench = Typed().registered()
    bench.give(RepetitionDue(), after=5)
    assert bench.expires() == [600, 600, 0]
    first = bench.last(OpenConnection).connection_id
    assert of(bench.sip(200), CloseConnection, connection_id=first)
    bench.registered()
    assert bench.last(OpenConnection).connection_id == first + 1
    assert bench.expires() == [600, 600, 0, 600, 600]
    assert len({sent.message.call_id for sent in of(bench.all, SendSip)}) == 2
    assert dones(bench) == 2
    assert stages(bench) == 2 * [(Stage.REGISTER, "begun"), (Stage.REGISTER, "ok")]
    assert not of(bench.all, ProbeAddress)[1:]


def test_when_it_is_due_again_without_a_registration_it_registers_at_once():
    bench = Typed().registered()
    number = bench.last(OpenConnection).connection_id
    lost = bench.give(ConnectionClosed(connection_id=number, detail="gone"))
    assert of(lost, RegistrationLost)
    bench.give(RepetitionDue())
    assert stages(bench)[-1] == (Stage.REGISTER, "begun")
    bench.registered()
    assert dones(bench) == 2


def test_a_shutdown_while_it_is_due_again_is_the_end():
    bench = Typed().registered()
    bench.give(RepetitionDue(), after=5)
    assert of(bench.give(ShutdownRequested()), PoweredOff)
    assert bench.phone.next_deadline() is None


def test_it_takes_no_notice_of_being_due_again_once_it_shuts_down():
    bench = Typed().registered()
    bench.give(ShutdownRequested())
    assert bench.give(RepetitionDue()) == []
    assert of(bench.sip(200), PoweredOff)


def test_what_a_whole_boot_left_on_its_disk_is_not_asked():
    whole = Bench()
    whole.boot()
    bench = Typed(whole.files)
    bench.connect()
    bench.challenge()
    bench.challenge()
    assert bench.last(BootFailed).stage is Stage.REGISTER
    assert not bench.informs()
    assert bench.files == whole.files


def test_it_finds_back_by_itself_when_its_registration_is_lost():
    bench = Typed().registered()
    number = bench.last(OpenConnection).connection_id
    bench.give(ConnectionClosed(connection_id=number, detail="gone"))
    bench.wait_for(SendDns)
    bench.registered()
    assert of(bench.all, RegistrationRegained)
    assert dones(bench) == 1


def test_a_refused_password_fails_it_and_is_tried_again_later():
    bench = Typed()
    bench.connect()
    bench.challenge()
    bench.challenge()
    failed = bench.last(BootFailed)
    assert (failed.stage, failed.reason) == (
        Stage.REGISTER,
        FailureReason.REGISTRATION_UNAUTHORIZED,
    )
    bench.wait()
    bench.registered()
    assert dones(bench) == 1
