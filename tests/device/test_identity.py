"""What a phone keeps of a sign-in, and what it forgets, machine and whole phone."""

import pytest
from playing import Dice, play
from rig import ADDRESS, FE01, FE02, MAC, NUMBER, PIN, PROFILE, SIP_URI, TRUE_TIME, Bench, of

from phonesim.config.device_profile import IdentityConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    DeleteFile,
    MakeCertificateRequest,
    OpenConnection,
    SendHttp,
    SendNtp,
    SendSip,
    WriteFile,
)
from phonesim.device.cache import CACHE_FILE
from phonesim.device.events import (
    BootFailed,
    CertificateIssued,
    ConnectionFailed,
    IdentityLoaded,
    IdentityUnusable,
    PowerApplied,
    RegistrationEnded,
    SignedIn,
    SignedOut,
    SignOutRequested,
)
from phonesim.device.identity import IDENTITY_FILE, KEY_FILE, Identity
from phonesim.device.outcome import ConnectFailure, FailureReason, Stage
from phonesim.device.phone import Phone

ISSUED = CertificateIssued(
    sip_uri=SIP_URI, certificate=b"cert", chain=b"chain", ticket_id="t-1", ticket_expires=9
)
STORED = (
    b'{"sip_uri":"sip:user00001@contoso.com","certificate":"Y2VydA==","chain":"Y2hhaW4=",'
    b'"ticket_id":"t-1","ticket_expires":9}'
)
WARM = {IDENTITY_FILE: STORED, KEY_FILE: b""}


def identity(expiry=lambda certificate: None, **config):
    return Identity(IdentityConfig(**config), expiry)


def corrupt(name, detail):
    return log.CACHE_CORRUPT(name, detail)


@pytest.mark.parametrize(
    ("files", "has_key", "expected"),
    [
        ({}, False, []),
        ({KEY_FILE: b""}, True, []),
        (WARM, True, [log.IDENTITY_LOADED(SIP_URI, 4), IdentityLoaded(identity=ISSUED)]),
        ({KEY_FILE: b""}, False, [corrupt(KEY_FILE, "no RSA key")]),
        (WARM, False, [corrupt(KEY_FILE, "no RSA key")]),
        (
            {IDENTITY_FILE: STORED},
            False,
            [corrupt(KEY_FILE, "missing, and a certificate is there")],
        ),
        (
            {IDENTITY_FILE: STORED[:40], KEY_FILE: b""},
            True,
            [corrupt(IDENTITY_FILE, "Input data was truncated")],
        ),
        (
            {IDENTITY_FILE: b"", KEY_FILE: b""},
            True,
            [corrupt(IDENTITY_FILE, "Input data was truncated")],
        ),
        (
            {IDENTITY_FILE: b'{"sip_uri":"\xff"}', KEY_FILE: b""},
            True,
            [corrupt(IDENTITY_FILE, "not UTF-8: invalid start byte")],
        ),
    ],
)
def test_what_is_loaded_from_the_disk(files, has_key, expected):
    play(identity(), [(0.0, PowerApplied(files=files, has_key=has_key), expected)])


def test_every_change_writes_the_file():
    play(
        identity(),
        [
            (0.0, ISSUED, [WriteFile(name=IDENTITY_FILE, data=STORED)]),
            (
                1.0,
                IdentityUnusable(detail="refused"),
                [log.IDENTITY_UNUSABLE("refused"), DeleteFile(name=IDENTITY_FILE)],
            ),
        ],
    )


@pytest.mark.parametrize(
    ("forgets", "files"),
    [
        (("certificate", "key", "services"), [IDENTITY_FILE, KEY_FILE]),
        (("certificate",), [IDENTITY_FILE]),
        ((), []),
    ],
)
def test_signing_out_forgets_what_the_profile_says(forgets, files):
    deleted = [DeleteFile(name=name) for name in files]
    machine = identity(sign_out_forgets=forgets)
    play(machine, [(0.0, RegistrationEnded(), [log.SIGNED_OUT(",".join(forgets)), *deleted])])


@pytest.mark.parametrize(("until", "lasts"), [(None, True), (3600.0, True), (3599.9, False)])
def test_a_certificate_lasts_while_it_has_long_enough_to_live(until, lasts):
    assert identity(lambda certificate: until).lasts(ISSUED, 0.0) == lasts


# --- the whole phone ---


def signed_in(profile=PROFILE):
    bench = Bench(profile=profile)
    bench.boot()
    return bench


def warm(profile=PROFILE, before=None, **options):
    """A phone that booted once, and has power, an address and the time again."""
    bench = (before or signed_in(profile)).reboot(profile, keeps_identity=True, **options)
    bench.bind()
    bench.tell_time()
    return bench


def with_identity(**fields):
    changed = PROFILE.identity.model_copy(update=fields)
    return PROFILE.model_copy(update={"identity": changed})


def refuse_connection(bench, failure):
    number = bench.last(OpenConnection).connection_id
    return bench.give(ConnectionFailed(connection_id=number, failure=failure, detail="no"))


def test_a_warm_boot_registers_without_discovery_pin_or_key():
    bench = warm()
    assert of(bench.register(), SignedIn)
    assert bench.informs() == []
    assert not of(bench.all, SendHttp)
    assert not of(bench.all, MakeCertificateRequest)
    assert bench.records(log.IDENTITY_USED) == [(SIP_URI,)]
    skipped = [stage for stage, result, _ in bench.records(log.STAGE_ENDED) if result == "skipped"]
    assert skipped == ["discovery", "chain", "ticket", "certificate"]


def test_a_certificate_about_to_end_is_not_used_again():
    before = signed_in()
    phone = Phone(
        PROFILE, MAC, NUMBER, PIN, Dice(), validity=lambda _: (TRUE_TIME - 60, TRUE_TIME + 60)
    )
    bench = before.reboot(keeps_identity=True)
    bench.phone, bench.all = phone, []
    bench.give(PowerApplied(files=dict(bench.files), has_key=True))
    bench.name_vlan(None)
    bench.bind()
    bench.tell_time()
    bench.sign_in()
    assert of(bench.register(), SignedIn)


def test_a_certificate_that_the_registrar_refuses_is_forgotten_and_got_anew():
    bench = warm()
    bench.connect()
    bench.sip(403, "Forbidden")
    bench.resolve(FE02, "10.0.0.22")
    refuse_connection(bench, ConnectFailure.REFUSED)
    assert IDENTITY_FILE not in bench.files
    assert KEY_FILE in bench.files
    bench.sign_in()
    assert of(bench.register(), SignedIn)
    assert IDENTITY_FILE in bench.files


def test_a_new_certificate_that_is_refused_fails_the_boot():
    bench = Bench()
    bench.bind()
    bench.tell_time()
    bench.inform_ack(host="webpool.contoso.com", registrars=(FE01,))
    bench.no_srv()
    bench.sign_in()
    bench.connect()
    (failed,) = of(bench.sip(403, "Forbidden"), BootFailed)
    assert failed.reason == FailureReason.REGISTRATION_FORBIDDEN
    assert IDENTITY_FILE not in bench.files


@pytest.mark.parametrize("refetches", [False, True])
def test_another_authority_at_the_pool_is_only_learned_of_if_the_profile_says_so(refetches):
    bench = warm(with_identity(refetches_chain=refetches))
    for host in (FE01, FE02):
        bench.resolve(host, "10.0.0.21")
        refuse_connection(bench, ConnectFailure.CERTIFICATE_UNTRUSTED)
    assert (IDENTITY_FILE in bench.files) != refetches
    if refetches:
        bench.sign_in()
        assert of(bench.register(), SignedIn)
    else:
        assert bench.records(log.CACHE_UNUSABLE)


def test_signing_out_deregisters_and_forgets():
    bench = signed_in()
    bench.give(SignOutRequested())
    assert bench.last(SendSip).message.expires == 0
    assert not of(bench.all, SignedOut)
    assert of(bench.accept(), SignedOut)
    assert set(bench.files) == {CACHE_FILE}
    again = bench.reboot(keeps_identity=True)
    again.boot()
    assert again.informs()
    assert of(again.all, MakeCertificateRequest)
    # Its last address is no secret: it asks for that one.
    assert ADDRESS.encode() in bench.files[CACHE_FILE]


def test_what_signing_out_may_leave_is_used_again():
    profile = with_identity(sign_out_forgets=("services",))
    bench = signed_in(profile)
    bench.give(SignOutRequested())
    bench.accept()
    again = warm(profile, bench)
    again.inform_ack(host="webpool.contoso.com", registrars=(FE01,))
    again.no_srv()
    assert of(again.register(), SignedIn)
    assert not of(again.all, SendHttp)


def test_a_factory_reset_erases_everything():
    before = signed_in()
    assert set(before.files) == {CACHE_FILE, IDENTITY_FILE, KEY_FILE}
    bench = before.reboot(keeps_identity=True, factory_reset=True)
    erased = sorted((CACHE_FILE, IDENTITY_FILE, KEY_FILE))
    assert sorted(each.name for each in of(bench.all, DeleteFile)) == erased
    assert bench.records(log.FACTORY_RESET) == [(",".join(erased),)]
    assert bench.records(log.DISPLAY)[0] == (PROFILE.display.reset,)
    assert bench.records(log.CACHE_EMPTY)
    bench.boot()
    assert bench.informs()


def test_stages_of_a_warm_boot_end_with_commit():
    bench = warm()
    bench.register()
    assert bench.records(log.STAGE_ENDED)[-1][0] == Stage.COMMIT


# --- without the time ---


def with_clock(**fields):
    changed = PROFILE.clock.model_copy(update=fields)
    return PROFILE.model_copy(update={"clock": changed})


def no_time(bench):
    """Let every way to learn the time fail."""
    while not bench.records(log.CLOCK_NOT_SET):
        bench.wait()


@pytest.mark.parametrize("clears", [False, True])
def test_a_certificate_that_a_wrong_clock_refuses_costs_the_cache_only_if_the_profile_says_so(
    clears,
):
    profile = with_clock(clears_cache_without_time=clears)
    bench = signed_in(profile).reboot(profile, keeps_identity=True)
    bench.bind()
    no_time(bench)
    for host in (FE01, FE02):
        bench.resolve(host, "10.0.0.21")
        refuse_connection(bench, ConnectFailure.CERTIFICATE_NOT_YET_VALID)
    assert bool(bench.records(log.CACHE_UNUSABLE)) == clears
    assert bool(bench.informs()) == clears
    if not clears:
        (failed,) = of(bench.all, BootFailed)
        assert (failed.stage, failed.reason) == (
            Stage.REGISTER,
            FailureReason.CERTIFICATE_NOT_YET_VALID,
        )
        while not bench.records(log.CLOCK_SET):  # it asks again when it begins again
            bench.wait()
            if bench.wants(SendNtp):
                bench.tell_time()
        assert of(bench.register(), SignedIn)
        assert bench.informs() == []


def test_a_profile_may_stop_a_phone_without_the_time():
    bench = Bench(profile=with_clock(without_time="stop"))
    bench.bind()
    no_time(bench)
    (failed,) = of(bench.all, BootFailed)
    assert (failed.stage, failed.reason) == (Stage.TIME, FailureReason.CLOCK_NOT_SET)
    assert failed.retry_in is not None
    assert bench.informs() == []
