from __future__ import annotations

import base64
import json
import random

import msgspec
import pytest
from rig import (
    ADDRESS,
    DHCP,
    EXTERNAL,
    FE01,
    FE02,
    INTERNAL,
    MAC,
    NUMBER,
    PIN,
    POOL,
    PROFILE,
    PROVISIONING_SERVICE,
    SIP_URI,
    TRUE_TIME,
    WEB,
    Bench,
    of,
)

from phonesim.device import device_log as log
from phonesim.device.actions import (
    AnnounceAddress,
    BeginHandshake,
    CloseConnection,
    OpenConnection,
    ProbeAddress,
    RemoveAddress,
    SendDhcp,
    SendDns,
    SendHttp,
    SendNtp,
    SendSip,
    SignWithKey,
    WriteLog,
)
from phonesim.device.events import (
    AddressClaimed,
    AddressWanted,
    BootFailed,
    CertificateChecked,
    ConnectionClosed,
    ConnectionFailed,
    DataSigned,
    DhcpMessageReceived,
    DisplayShowed,
    ExchangeEnded,
    MalformedReceived,
    PhoneAbandoned,
    PowerApplied,
    PoweredOff,
    RegistrationLost,
    RegistrationRegained,
    ShutdownRequested,
    SignedIn,
    SipMessageReceived,
    StageEnded,
    StageEntered,
    TimerExpired,
)
from phonesim.device.outcome import ConnectFailure, FailureReason, Stage
from phonesim.device.phone import Phone
from phonesim.wire.cert_provisioning import GetAndPublishCertResponse
from phonesim.wire.dhcp import DhcpMessage, MessageType
from phonesim.wire.inband_provisioning import (
    InbandProvisioning,
    ServiceUrl,
    encode_inband_provisioning,
)
from phonesim.wire.sip import response_to
from phonesim.wire.sip_server import SipServer
from phonesim.wire.sipae import Offer, challenge_of
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import CERTIFICATE_PORT, ServiceMetadata, ServicePort
from phonesim.wire.web_ticket import proof_key


def stages(bench):
    """What the observations say of stages: name, and result or "begun"."""
    return [
        (str(seen.stage), "begun")
        if isinstance(seen, StageEntered)
        else (str(seen.stage), seen.reason or ("skipped" if seen.skipped else "ok"))
        for seen in bench.all
        if isinstance(seen, StageEntered | StageEnded)
    ]


def sent_types(bench):
    return [sent.message.message_type.name for sent in of(bench.all, SendDhcp)]


# --- a boot ---


def test_a_cold_boot_goes_through_every_stage():
    bench = Bench()
    bench.boot()
    assert stages(bench) == [(name, what) for name in Stage for what in ("begun", "ok")]
    assert of(bench.all, SignedIn) == [SignedIn(sip_uri=SIP_URI, registrar=f"{FE01}:5061")]


def test_a_second_boot_skips_discovery_and_asks_for_its_old_address():
    first = Bench()
    first.boot()
    second = first.reboot()
    assert second.records(log.CACHE_USED)
    second.boot()
    assert ("discovery", "skipped") in stages(second)
    assert sent_types(second) == ["REQUEST"]
    assert of(second.all, SignedIn)


def test_the_display_shows_what_is_going_on():
    bench = Bench()
    bench.boot()
    shown = [seen.text for seen in of(bench.all, DisplayShowed)]
    assert shown == [
        "Acquiring IP Address",
        "Locating the server to download the certificate",
        "Connecting to Lync Server",
    ]
    assert [text for (text,) in bench.records(log.DISPLAY)] == shown


@pytest.mark.parametrize("first_stage", [Stage.VLAN, Stage.IP])
def test_the_display_begins_with_the_address(first_stage):
    bench = Bench(first_stage=first_stage)
    assert bench.last(DisplayShowed).text == "Acquiring IP Address"
    assert bench.last(StageEntered).stage is Stage.IP


def test_a_profile_s_home_screen_is_shown():
    config = PROFILE.display.model_copy(update={"signed_in": "Contoso"})
    bench = Bench(profile=PROFILE.model_copy(update={"display": config}))
    bench.boot()
    assert bench.last(DisplayShowed).text == "Contoso"


def test_the_log_tells_the_stages_with_their_results_and_durations():
    bench = Bench()
    bench.boot()
    told = bench.records(log.STAGE_ENDED)
    assert [(stage, result) for stage, result, _ in told] == [
        (name, "ok") for name, what in stages(bench) if what == "ok"
    ]
    assert [seconds for _, _, seconds in told] == [0, 0.2, 0, 0, 0, 0, 0, 0, 0]
    assert bench.records(log.SIGNED_IN) == [(SIP_URI, f"{FE01}:5061", 0.2)]
    again = bench.reboot()
    again.boot()
    assert ("discovery", "skipped", 0) in again.records(log.STAGE_ENDED)


@pytest.mark.parametrize(
    ("lease", "times"), [(3600, (1800, 3150, 3600)), (0xFFFFFFFF, (-1, -1, -1))]
)
def test_the_log_tells_the_lease_in_seconds_from_now(lease, times):
    bench = Bench()
    bench.bind(lease=lease)
    (told,) = bench.records(log.DHCP_LEASE)
    assert told == (ADDRESS, "255.255.0.0", DHCP, *times, "", "10.0.0.3", "contoso.com", "10.0.0.5")


def test_the_exchanges_of_a_boot_are_observed():
    bench = Bench()
    bench.boot()
    kinds = [seen.kind for seen in of(bench.all, ExchangeEnded)]
    assert sorted(set(kinds)) == [
        "dhcp_discover",
        "dhcp_inform",
        "dhcp_request",
        "dns",
        "http",
        "ntp",
        "sip_register",
    ]
    assert kinds.count("http") == 5


def test_every_step_is_one_log_entry_at_its_end_with_the_clock_that_the_phone_believes():
    bench = Bench()
    bench.bind()
    outputs = bench.tell_time()
    assert [type(output) for output in outputs].count(WriteLog) == 1
    entry = outputs[-1]
    assert entry.clock == pytest.approx(TRUE_TIME)
    assert entry.tick == int(bench.now * 1000)
    before = of(bench.all, WriteLog)[0]
    assert before.clock == PROFILE.clock.power_on.timestamp()


def test_a_phone_powered_on_later_counts_from_there():
    phone = Phone(PROFILE, MAC, NUMBER, PIN, random.Random(1))
    entry = phone.handle(PowerApplied(), 500.0)[-1]
    assert (entry.tick, entry.clock) == (0, PROFILE.clock.power_on.timestamp())


def test_the_same_seed_boots_the_same_way():
    logs = []
    for _ in range(2):
        bench = Bench(rng=random.Random("a seed"))
        bench.boot()
        logs.append((bench.text(), bench.all))
    assert logs[0][0] == logs[1][0]
    assert [repr(output) for output in logs[0][1] if not isinstance(output, SendHttp)] == [
        repr(output) for output in logs[1][1] if not isinstance(output, SendHttp)
    ]


# --- secrets ---


def test_neither_pin_nor_key_reaches_the_log():
    fault = SoapFault(code="FailedAuthentication", reason="no", pin_failure="IncorrectPin")
    good, bad = Bench(), Bench()
    good.boot()
    entropy = next(
        sent.request.message.entropy
        for sent in of(good.all, SendHttp)
        if hasattr(sent.request.message, "entropy")
    )
    good.give(ShutdownRequested())
    bad.bind()
    bad.tell_time()
    bad.inform_ack(host=POOL, registrars=(FE01,))
    bad.resolve(POOL, WEB)
    bad.give_chain()
    bad.describe_services()
    bad.http(fault, 500)
    key = proof_key(entropy, b"s" * 32)
    for bench in (good, bad):
        text = bench.text()
        assert len(text.splitlines()) > 20
        for secret in (
            PIN,
            *(
                encoded
                for octets in (entropy, b"s" * 32, key)
                for encoded in (octets.hex(), base64.b64encode(octets).decode())
            ),
        ):
            assert secret.lower() not in text.lower()
        for data in bench.files.values():
            assert PIN.encode() not in data


# --- failing ---

NEEDS_A_PERSON = {
    "IncorrectPin": FailureReason.PIN_INCORRECT,
    "UserPinAccountLocked": FailureReason.PIN_LOCKED,
    "PinExpired": FailureReason.PIN_EXPIRED,
    "PinNotSet": FailureReason.PIN_NOT_SET,
    "PinNotEnabledForUser": FailureReason.PIN_NOT_ENABLED,
    "PinNotUnique": FailureReason.PIN_NOT_UNIQUE,
    "NonUniqueUser": FailureReason.USER_NOT_UNIQUE,
    "Unauthorized": FailureReason.USER_UNAUTHORIZED,
    "UserDoesNotExist": FailureReason.USER_UNKNOWN,
    "UserPinAccountDisabled": FailureReason.USER_DISABLED,
}


def at_ticket(bench=None):
    bench = bench or Bench()
    bench.bind()
    bench.tell_time()
    if bench.informs():
        bench.inform_ack(host=POOL, registrars=(FE01, FE02))
        bench.no_srv()
    bench.resolve(POOL, WEB)
    bench.give_chain()
    bench.describe_services()
    return bench


@pytest.mark.parametrize("pin_failure", NEEDS_A_PERSON)
def test_what_needs_a_person_is_never_tried_again(pin_failure):
    bench = at_ticket()
    fault = SoapFault(code="FailedAuthentication", reason="no", pin_failure=pin_failure)
    (failed,) = of(bench.http(fault, 500), BootFailed)
    assert (failed.stage, failed.reason) == (Stage.TICKET, NEEDS_A_PERSON[pin_failure])
    assert failed.retry_in is None
    assert bench.records(log.BOOT_FAILED)[-1][-1] == "not again until a person acts"
    # Nothing is left to do but to keep the lease.
    assert bench.phone.next_deadline()[1] == "T1"


def test_a_wrong_pin_is_not_the_cache_s_fault():
    first = Bench()
    first.boot()
    second = at_ticket(first.reboot())
    fault = SoapFault(code="FailedAuthentication", reason="no", pin_failure="IncorrectPin")
    assert of(second.http(fault, 500), BootFailed, retry_in=None)
    assert second.informs() == []
    assert json.loads(second.files["cache.json"])["in_use"] is not None


def test_any_other_failure_is_tried_again_from_the_beginning():
    bench = at_ticket()
    (failed,) = of(bench.http(None, 404), BootFailed)
    assert failed.reason == FailureReason.WEB_SERVICES_NOT_FOUND
    assert 60 <= failed.retry_in <= 72
    began = bench.now
    assert bench.phone.next_deadline() == (began + failed.retry_in, "begin the boot again")
    bench.wait()
    assert len(bench.informs()) == 2
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.sign_in()
    assert of(bench.register(), SignedIn)


def test_the_retries_of_a_fleet_are_spread():
    pauses = set()
    for seed in range(20):
        bench = at_ticket(Bench(rng=random.Random(seed)))
        (failed,) = of(bench.http(None, 404), BootFailed)
        pauses.add(failed.retry_in)
    assert len(pauses) == 20
    assert all(60 <= pause <= 72 for pause in pauses)


def test_a_timer_before_its_time_begins_nothing_again():
    bench = at_ticket()
    (failed,) = of(bench.http(None, 404), BootFailed)
    assert bench.give(TimerExpired(), failed.retry_in - 1) == []
    assert bench.wait()
    assert len(bench.informs()) == 2


def test_a_phone_tries_again_once_for_every_failure():
    bench = at_ticket()
    bench.http(None, 404)
    bench.wait()
    # The second attempt waits for its answers; there is no third beside it.
    assert bench.phone.next_deadline()[1] == "repeat a DNS query"


def test_a_failure_shows_its_text_on_the_display():
    bench = at_ticket()
    bench.http(None, 404)
    assert bench.last(DisplayShowed).text == "Unable to locate Lync Certificate Web service"
    bench = at_ticket()
    bench.http(None, 403)
    assert bench.last(DisplayShowed).text == PROFILE.display.failure


def test_a_failed_stage_ends_with_its_reason():
    bench = at_ticket()
    bench.http(None, 404)
    assert stages(bench)[-1] == ("ticket", "web-services-not-found")
    assert bench.records(log.STAGE_ENDED)[-1][:2] == ("ticket", "web-services-not-found")


# --- the clock ---


def test_without_ntp_the_boot_goes_on_and_asks_again_when_it_begins_again():
    bench = Bench()
    bench.bind()
    while not of(bench.step, StageEnded, stage=Stage.TIME):
        if bench.asked("_ntp._udp.contoso.com") and not bench.asked("time.windows.com"):
            bench.resolve("_ntp._udp.contoso.com", rcode="NXDOMAIN")
        elif bench.asked("time.windows.com"):
            bench.resolve("time.windows.com", rcode="NXDOMAIN")
        else:
            bench.wait()
    assert stages(bench)[-2:] == [("time", "clock-not-set"), ("discovery", "begun")]
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.resolve(POOL, WEB)
    bench.give_chain()
    assert bench.last(SendHttp).clock < TRUE_TIME
    asked = len(of(bench.all, SendNtp))
    bench.no_http(ConnectFailure.CERTIFICATE_NOT_YET_VALID)
    assert bench.wants(BootFailed, reason=FailureReason.CERTIFICATE_NOT_YET_VALID)
    bench.wait_for(SendNtp)
    assert len(of(bench.all, SendNtp)) == asked + 1
    bench.tell_time()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.sign_in()
    assert bench.last(SendHttp).clock == pytest.approx(TRUE_TIME, abs=200)
    assert of(bench.register(), SignedIn)


# --- the cache ---


@pytest.mark.parametrize("stage", ["chain", "ticket", "certificate", "register"])
def test_a_cache_that_misleads_is_given_up_and_discovery_begins_at_once(stage):
    first = Bench()
    first.boot()
    bench = first.reboot()
    bench.bind()
    bench.tell_time()
    bench.resolve(POOL, WEB)
    if stage != "chain":
        bench.give_chain()
        bench.describe_services()
    if stage in ("certificate", "register"):
        bench.give_ticket()
        bench.make_key()
    if stage == "register":
        bench.give_certificate()
        bench.resolve(FE01, rcode="NXDOMAIN")
        bench.resolve(FE02, rcode="NXDOMAIN")
    else:
        bench.http(None, 404)
    assert bench.wants(StageEnded, stage=stage)
    assert bench.wants(StageEntered, stage=Stage.DISCOVERY)
    assert bench.wants(SendDhcp) == bench.informs()
    assert bench.records(log.CACHE_UNUSABLE, bench.step)
    assert json.loads(bench.files["cache.json"])["in_use"] is None
    assert not of(bench.all, BootFailed)


def test_a_second_failure_is_the_boot_s_own():
    first = Bench()
    first.boot()
    bench = at_ticket(first.reboot())
    bench.http(None, 404)
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.resolve(POOL, WEB)
    assert of(bench.http(None, 404), BootFailed, reason=FailureReason.WEB_SERVICES_NOT_FOUND)


@pytest.mark.parametrize(("policy", "is_used"), [("dns", True), ("none", False)])
def test_a_kept_dns_name_gives_the_url_only_where_the_profile_permits_it(policy, is_used):
    config = PROFILE.discovery.model_copy(update={"web_services_fallback": policy})
    first = Bench()
    first.bind()
    first.tell_time()
    first.resolve(INTERNAL, (0, 5061, FE01))
    first.resolve(EXTERNAL, rcode="NXDOMAIN")
    first.wait_for(StageEnded, stage=Stage.DISCOVERY)
    second = first.reboot(PROFILE.model_copy(update={"discovery": config}))
    assert bool(second.records(log.CACHE_USED)) == is_used


# --- the lease ---


def test_without_a_dhcp_server_the_boot_fails_and_goes_on_when_one_answers():
    bench = Bench()
    bench.wait_for(ProbeAddress)
    (failed,) = of(bench.probe(), BootFailed)
    assert (failed.stage, failed.reason) == (Stage.IP, FailureReason.NO_LEASE)
    assert failed.retry_in == 300
    assert failed.detail.startswith("no DHCP server answered; using 169.254.")
    bench.wait_for(SendDhcp)
    bench.boot()
    assert of(bench.all, SignedIn)


def signed_in():
    bench = Bench()
    bench.boot()
    return bench


def test_a_renewal_disturbs_nothing():
    bench = signed_in()
    before = stages(bench)
    while not bench.wants(SendDhcp):
        bench.wait()
        if bench.wants(SendSip):
            bench.accept()
    bench.dhcp(MessageType.ACK)
    assert stages(bench) == before
    assert not of(bench.all, CloseConnection)
    assert bench.records(log.DHCP_LEASE)[-1][0] == ADDRESS


def test_a_lease_lost_while_registered_is_got_again_and_the_phone_signs_in_from_its_cache():
    bench = signed_in()
    while not bench.wants(SendDhcp):
        bench.wait()
        if bench.wants(SendSip):
            bench.accept()
    number = bench.last(OpenConnection).connection_id
    outputs = bench.dhcp(MessageType.NAK)
    assert of(outputs, CloseConnection) == [CloseConnection(connection_id=number)]
    assert of(outputs, RemoveAddress) == [RemoveAddress(address=ADDRESS)]
    assert not of(outputs, SendSip)
    assert stages(bench)[-1] == ("ip", "begun")
    informs = len(bench.informs())
    bench.bind(address="10.0.0.77")
    bench.tell_time()
    assert of(bench.register(), SignedIn)
    assert bench.last(OpenConnection).source == "10.0.0.77"
    assert len(bench.informs()) == informs


@pytest.mark.parametrize("from_cache", [True, False])
def test_a_lease_lost_while_signing_in_ends_the_stage_and_the_boot_begins_anew(from_cache):
    bench = Bench()
    if from_cache:
        bench.boot()
        bench = bench.reboot()
    bench = at_ticket(bench)
    informs = len(bench.informs())
    bench.now = 1800.0
    bench.give(TimerExpired())
    bench.dhcp(MessageType.NAK)
    assert stages(bench)[-2:] == [("ticket", "lease-lost"), ("ip", "begun")]
    bench.give_ticket()
    assert bench.records(log.HTTP_IGNORED, bench.step)
    bench.bind()
    bench.tell_time()
    # What it had from its cache was not disproved: the network is not asked for it again.
    assert len(bench.informs()) == (informs if from_cache else informs + 1)


def test_a_lease_lost_between_two_attempts_takes_the_place_of_the_second():
    bench = Bench()
    bench.bind(lease=100)
    bench.tell_time()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.resolve(POOL, WEB)
    assert of(bench.http(None, 404), BootFailed)
    bench.wait_for(SendDhcp)
    assert 50 <= bench.now < 60
    bench.dhcp(MessageType.NAK)
    bench.now = 75.0
    assert len(bench.informs()) == 1
    assert bench.phone.next_deadline()[1] == "retransmit DISCOVER"


# --- losing the Registrar ---


def test_a_lost_connection_is_made_again_without_a_new_sign_in():
    bench = signed_in()
    number = bench.last(OpenConnection).connection_id
    bench.give(ConnectionClosed(connection_id=number, detail="closed by the server"))
    assert bench.wants(RegistrationLost, registrar=f"{FE01}:5061")
    posts = len(of(bench.all, SendHttp))
    bench.wait_for(SendDns)
    assert not of(bench.all, RegistrationRegained)
    bench.register()
    assert bench.wants(RegistrationRegained, registrar=f"{FE01}:5061")
    assert len(of(bench.all, SendHttp)) == posts
    assert len(of(bench.all, SignedIn)) == 1
    assert len(bench.records(log.REGISTERED)) == 2


# --- what no machine expects ---


def test_a_request_from_another_client_is_dropped_with_a_record():
    bench = Bench()
    message = DhcpMessage(
        message_type=MessageType.DISCOVER, xid=bench.last(SendDhcp).message.xid, chaddr=MAC
    )
    bench.give(DhcpMessageReceived(message=message, source="0.0.0.0"))
    assert bench.records(log.DHCP_IGNORED)[-1][-1] == "no reply: op is not 2"
    assert sent_types(bench) == ["DISCOVER"]


@pytest.mark.parametrize("protocol", ["dhcp", "dns", "ntp", "http", "sip"])
def test_what_no_codec_could_read_is_logged(protocol):
    bench = Bench()
    bench.give(MalformedReceived(protocol=protocol, source=DHCP, reason="no cookie", size=7))
    assert bench.records(log.MALFORMED, bench.step) == [(protocol, DHCP, 7, "no cookie")]


def test_a_malformed_sip_message_ends_the_connection():
    bench = signed_in()
    bench.give(MalformedReceived(protocol="sip", source="10.0.0.21", reason="no colon", size=9))
    assert bench.wants(CloseConnection)
    assert bench.phone.next_deadline()[1] == "connect again"


def test_an_internal_event_is_refused_at_the_door():
    with pytest.raises(TypeError, match="AddressWanted"):
        Bench().phone.handle(AddressWanted(), 0.0)


# --- shutdown ---


def to_selecting(bench):
    assert sent_types(bench) == ["DISCOVER"]


def to_time(bench):
    bench.bind()


def to_discovery(bench):
    to_time(bench)
    bench.tell_time()


def to_chain(bench):
    to_discovery(bench)
    bench.inform_ack(host=POOL, registrars=(FE01,))


def to_ticket(bench):
    to_chain(bench)
    bench.resolve(POOL, WEB)
    bench.give_chain()
    bench.describe_services()


def to_key(bench):
    to_ticket(bench)
    bench.give_ticket()


def to_registrar(bench):
    to_key(bench)
    bench.make_key()
    bench.give_certificate()


def to_connecting(bench):
    to_registrar(bench)
    bench.resolve(FE01, "10.0.0.21")


def to_registering(bench):
    to_registrar(bench)
    bench.connect(FE01)


def to_retry(bench):
    to_ticket(bench)
    bench.http(None, 404)


def to_auto_ip(bench):
    bench.wait_for(ProbeAddress)
    bench.probe()


def to_requesting(bench):
    bench.dhcp(MessageType.OFFER)


def to_probe(bench):
    to_requesting(bench)
    bench.dhcp(MessageType.ACK)


def to_decline(bench):
    to_probe(bench)
    bench.probe("02-00-00-00-00-99")


UNREGISTERED = [
    to_selecting,
    to_requesting,
    to_probe,
    to_decline,
    to_auto_ip,
    to_time,
    to_discovery,
    to_chain,
    to_ticket,
    to_key,
    to_retry,
    to_registrar,
    to_connecting,
    to_registering,
]


@pytest.mark.parametrize("there", UNREGISTERED, ids=lambda there: there.__name__)
def test_shutdown_before_registration_is_the_end_at_once(there):
    bench = Bench()
    there(bench)
    has_lease = bool(bench.records(log.DHCP_LEASE)) or there is to_probe
    outputs = bench.give(ShutdownRequested())
    assert len(of(outputs, PoweredOff)) == 1
    assert bench.phone.next_deadline() is None
    assert ("RELEASE" in sent_types(bench)) == (has_lease or there is to_probe)
    assert of(outputs, RemoveAddress) or not has_lease
    assert bench.give(ShutdownRequested()) == []


def test_shutdown_after_registration_deregisters_releases_and_ends():
    bench = signed_in()
    outputs = bench.give(ShutdownRequested())
    assert bench.records(log.SHUTDOWN, outputs) == [()]
    assert not of(outputs, PoweredOff)
    assert bench.last(SendSip).message.expires == 0
    outputs = bench.sip(200)
    assert len(of(outputs, PoweredOff)) == 1
    assert sent_types(bench)[-1] == "RELEASE"
    assert bench.phone.next_deadline() is None
    assert json.loads(bench.files["cache.json"])["address"] is None


def test_shutdown_ends_though_the_registrar_says_nothing():
    bench = signed_in()
    bench.give(ShutdownRequested())
    began = bench.now
    bench.wait_for(PoweredOff)
    assert bench.now - began == 2


def test_shutdown_ends_though_the_lease_is_lost_meanwhile():
    bench = signed_in()
    while not bench.wants(SendDhcp):
        bench.wait()
        if bench.wants(SendSip):
            bench.accept()
    bench.give(ShutdownRequested())
    before = len(bench.all)
    bench.dhcp(MessageType.NAK)
    bench.bind()
    bench.wait_for(PoweredOff)
    assert not of(bench.all[before:], StageEntered)
    assert not of(bench.all[before:], SendNtp)
    assert bench.phone.next_deadline() is None


def test_shutdown_while_it_is_without_its_registrar_is_the_end_at_once():
    bench = signed_in()
    number = bench.last(OpenConnection).connection_id
    bench.give(ConnectionClosed(connection_id=number, detail="gone"))
    assert of(bench.give(ShutdownRequested()), PoweredOff)


def test_a_phone_that_keeps_its_lease_asks_for_it_again():
    config = PROFILE.dhcp.model_copy(update={"releases_on_shutdown": False})
    profile = PROFILE.model_copy(update={"dhcp": config})
    bench = Bench(profile=profile)
    bench.boot()
    bench.give(ShutdownRequested())
    bench.sip(200)
    assert "RELEASE" not in sent_types(bench)
    again = bench.reboot(profile)
    assert sent_types(again) == ["REQUEST"]


def test_after_a_released_lease_the_next_boot_begins_with_discover():
    bench = signed_in()
    bench.give(ShutdownRequested())
    bench.sip(200)
    again = bench.reboot()
    assert sent_types(again) == ["DISCOVER"]
    # The sign-in values are still known.
    assert again.records(log.CACHE_USED)


def test_a_phone_that_is_abandoned_releases_its_lease_and_does_no_more():
    bench = signed_in()
    outputs = bench.give(PhoneAbandoned())
    assert [sent.message.message_type.name for sent in of(outputs, SendDhcp)] == ["RELEASE"]
    assert not of(outputs, SendSip)
    assert bench.phone.next_deadline() is None


def test_a_phone_whose_address_another_host_claims_declines_it_and_gets_another():
    bench = signed_in()
    claim = AddressClaimed(address=ADDRESS, mac="02-00-00-00-00-99")
    assert of(bench.give(claim), AnnounceAddress)
    outputs = bench.give(claim, 1.0)
    assert sent_types(bench)[-1] == "DECLINE"
    assert of(outputs, RemoveAddress)
    assert of(outputs, StageEntered, stage=Stage.IP)
    bench.wait_for(SendDhcp)
    bench.bind(address="10.0.0.51")
    assert bench.records(log.DHCP_LEASE)[-1][0] == "10.0.0.51"


def test_a_phone_may_boot_on_what_is_left_of_its_lease():
    config = PROFILE.dhcp.model_copy(update={"reboot_keeps_lease": True})
    profile = PROFILE.model_copy(update={"dhcp": config})
    bench = Bench(profile=profile)
    bench.boot()
    again = bench.reboot(profile)
    assert sent_types(again) == ["REQUEST"]
    again.wait_for(ProbeAddress)
    again.probe()
    assert again.records(log.LEASE_KEPT)
    assert again.records(log.DHCP_LEASE)[-1][0] == ADDRESS
    assert again.records(log.CACHE_USED)


def test_what_comes_after_the_end_changes_nothing():
    bench = signed_in()
    bench.give(ShutdownRequested())
    bench.sip(200)
    for event in (
        TimerExpired(),
        ConnectionClosed(connection_id=1, detail="late"),
        ConnectionFailed(connection_id=1, failure=ConnectFailure.TIMEOUT, detail="late"),
    ):
        assert bench.give(event, 1.0) == []
    bench.dhcp(MessageType.ACK)
    assert not of(bench.step, SendDhcp)
    assert bench.phone.next_deadline() is None


def test_an_srv_answer_to_a_phone_that_was_shut_down_is_dropped():
    bench = Bench()
    to_discovery(bench)
    bench.give(ShutdownRequested())
    bench.resolve(INTERNAL, (0, 5061, FE01))
    assert bench.records(log.DNS_IGNORED, bench.step)


# --- a registration that changes or ends ---


def accept_as(bench, **presence):
    (contact,) = bench.last(SendSip).message.contacts
    state = ";".join(f'{name.replace("_", "-")}="{value}"' for name, value in presence.items())
    return bench.sip(
        200,
        contacts=(msgspec.structs.replace(contact, expires=600),),
        headers=(("presence-state", state),),
    )


def test_the_display_says_that_the_registration_is_lost_survivable_and_well():
    bench = signed_in()
    display = PROFILE.display
    number = bench.last(OpenConnection).connection_id
    bench.give(ConnectionClosed(connection_id=number, detail="gone"))
    bench.wait_for(SendDns)
    bench.connect()
    accept_as(bench, is_connected_to_primary="no")
    bench.wait_for(SendSip)
    accept_as(bench, register_action="refreshed", is_connected_to_primary="yes")
    shown = [seen.text for seen in of(bench.all, DisplayShowed)]
    assert shown[-3:] == [display.reconnecting, display.survivable, ""]


def test_a_signed_in_phone_that_is_refused_signs_in_again():
    bench = signed_in()
    bench.wait_for(SendSip)
    outputs = bench.sip(403, "Forbidden")
    (failed,) = of(outputs, BootFailed)
    assert (failed.stage, failed.reason) == (Stage.REGISTER, FailureReason.REGISTRATION_FORBIDDEN)
    assert failed.retry_in is not None
    bench.wait_for(SendDns)
    assert len(bench.informs()) == 2


def test_a_signed_in_phone_whose_user_is_disabled_waits_for_a_person():
    bench = signed_in()
    bench.wait_for(SendSip)
    headers = (("ms-diagnostics", '4141;reason="User disabled"'),)
    outputs = bench.sip(403, "Forbidden", headers=headers)
    (failed,) = of(outputs, BootFailed)
    assert (failed.reason, failed.retry_in) == (FailureReason.USER_DISABLED, None)


def test_a_sign_in_that_is_asked_for_patience_has_it():
    bench = Bench()
    to_registering(bench)
    outputs = bench.sip(503, "Busy", headers=(("Retry-After", "200"),))
    if not of(outputs, BootFailed):
        bench.connect(FE02)
        outputs = bench.sip(503, "Busy")
    (failed,) = of(outputs, BootFailed)
    assert 200 <= failed.retry_in <= 240


def test_in_band_provisioning_is_awaited_and_committed():
    bench = Bench()
    to_registering(bench)
    (contact,) = bench.last(SendSip).message.contacts
    bench.sip(
        200,
        contacts=(msgspec.structs.replace(contact, expires=600),),
        headers=(("Allow-Events", "vnd-microsoft-provisioning-v2"),),
    )
    assert not of(bench.all, SignedIn)
    assert bench.last(StageEntered).stage is Stage.COMMIT
    sent = bench.last(SendSip)
    told = InbandProvisioning(
        registrars=(SipServer(host="home.contoso.com", port=5061, transport="tls"),),
        web_services=ServiceUrl(scheme="https", host="web.contoso.com", port=443, path="/x"),
    )
    response = msgspec.structs.replace(
        response_to(sent.message, 200, "OK"), body=encode_inband_provisioning(told)
    )
    bench.give(SipMessageReceived(connection_id=sent.connection_id, message=response))
    assert of(bench.all, SignedIn)
    in_use = json.loads(bench.files["cache.json"])["in_use"]
    assert [each["host"] for each in in_use["registrars"]] == ["home.contoso.com"]
    assert in_use["web_services"]["host"] == "web.contoso.com"


def test_a_boot_whose_registration_ends_while_provisioning_is_awaited_has_failed():
    bench = Bench()
    to_registering(bench)
    (contact,) = bench.last(SendSip).message.contacts
    bench.sip(
        200,
        contacts=(msgspec.structs.replace(contact, expires=600),),
        headers=(("Allow-Events", "vnd-microsoft-provisioning-v2"),),
    )
    sent = bench.last(SendSip)
    notify = msgspec.structs.replace(
        sent.message,
        method="NOTIFY",
        call_id="x",
        headers=(("Event", "registration-notify"),),
        body=b"deregistered;event=rejected",
    )
    outputs = bench.give(SipMessageReceived(connection_id=sent.connection_id, message=notify))
    (failed,) = of(outputs, BootFailed)
    assert (failed.stage, failed.reason) == (Stage.COMMIT, FailureReason.USER_DISABLED)
    assert not of(bench.all, SignedIn)


# --- renewal ---


def signed_in_for(hours):
    """A phone that signed in with a certificate that lasts so long, and keeps its address."""
    bench = Bench(validity=lambda certificate: (TRUE_TIME, TRUE_TIME + hours * 3600))
    bench.bind(lease=10**6)
    bench.tell_time()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.no_srv()
    bench.sign_in()
    bench.register()
    return bench


def renew(bench):
    """Let a certificate be renewed by certificate."""
    bench.http(PROVISIONING_SERVICE)
    ports = (ServicePort(name=CERTIFICATE_PORT, location=f"https://{POOL}/Cert"),)
    bench.http(ServiceMetadata(service="WebTicketService", ports=ports))
    data = bench.last(SignWithKey).data
    bench.give(DataSigned(data=data, signature=b"signed"))
    bench.give_ticket()
    bench.make_key()


def test_a_registered_phone_renews_its_certificate_and_stays_registered():
    bench = signed_in_for(8)
    before = len(stages(bench))
    bench.now = 7.3 * 3600
    bench.give(TimerExpired())
    bench.resolve(POOL, WEB)
    renew(bench)
    bench.http(GetAndPublishCertResponse(certificate=b"new", device_id="x", entity="y"))
    bench.give(CertificateChecked(certificate=b"new", problem=""))
    assert not of(bench.step, BootFailed)
    assert len(stages(bench)) == before
    # The next connection shows it.
    number = bench.last(OpenConnection).connection_id
    bench.give(ConnectionClosed(connection_id=number, detail="gone"))
    bench.wait_for(SendDns)
    bench.resolve(FE01, "10.0.0.21")
    bench.connect()
    offer = Offer(scheme="TLS-DSK", realm="r", targetname=FE01, version=4)
    bench.sip(401, challenges=(challenge_of(offer),))
    assert bench.last(BeginHandshake).certificate == b"new"


def test_a_renewal_that_fails_is_no_failed_boot():
    bench = signed_in_for(8)
    bench.now = 7.3 * 3600
    bench.give(TimerExpired())
    bench.resolve(POOL, rcode="NXDOMAIN")
    bench.resolve(POOL, rcode="NXDOMAIN")
    assert bench.records(log.RENEWAL_REFUSED)
    assert bench.records(log.RENEWAL_FAILED)[-1][0] == "web-server-name-unresolved"
    assert not of(bench.all, BootFailed)


def test_a_phone_that_is_shutting_down_renews_nothing():
    bench = signed_in_for(8)
    bench.give(ShutdownRequested())
    bench.now = 7.3 * 3600
    bench.give(TimerExpired())
    assert not bench.records(log.RENEWAL_STARTED)
