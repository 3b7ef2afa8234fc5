from phonesim.device import device_log as log
from phonesim.device.actions import WriteLog
from phonesim.field.boot_story import BootFailure, BootStep, BootStory

URL = "https://webpool.contoso.com:443/CertProv/CertProvisioningService.svc"


def line(tick, *records):
    return WriteLog(records=records, clock=0.0, tick=tick)


def told(*lines):
    story = BootStory()
    return story, [step for each in lines for step in story.take(each)]


def test_a_stage_that_ends_tells_what_was_found_in_it():
    story, steps = told(
        line(0, log.CACHE_EMPTY(), log.DISPLAY("Acquiring IP Address")),
        line(2, log.VLAN_NOT_FOUND("untagged"), log.STAGE_ENDED("vlan", "ok", 0.002)),
        line(9, log.CLOCK_NOT_SET("no server"), log.STAGE_ENDED("time", "clock-not-set", 6.0)),
    )
    assert steps == [
        BootStep(stage="vlan", result="ok", seconds=0.002, found=("no voice VLAN: untagged",)),
        BootStep(stage="time", result="clock-not-set", seconds=6.0, found=("no server",)),
    ]
    assert story.steps == steps
    assert not story.is_over


def test_it_knows_where_the_phone_was_sent_and_by_whom():
    story, steps = told(
        line(
            5,
            log.RACE_WON("dhcp:10.0.0.1", "first DHCP answer with an FQDN"),
            log.WEB_SERVICES_LOCATED(URL, "dhcp:10.0.0.1"),
            log.REGISTRAR_LOCATED(1, "fe01.contoso.com:5061", "tls", "dhcp:10.0.0.1"),
            log.REGISTRAR_LOCATED(2, "fe02.contoso.com:5061", "tls", "dhcp:10.0.0.1"),
            log.STAGE_ENDED("discovery", "ok", 0.003),
        )
    )
    assert (story.url, story.registrar, story.source) == (
        URL,
        "fe01.contoso.com:5061",
        "dhcp:10.0.0.1",
    )
    assert len(steps[0].found) == 4


def test_an_answer_that_comes_after_discovery_is_not_the_next_stage_s():
    story, _ = told(
        line(1, log.STAGE_ENDED("vlan", "ok", 0.001)),
        line(5, log.RACE_WON("dhcp:10.0.0.1", "first"), log.STAGE_ENDED("discovery", "ok", 0.003)),
        line(6, log.RACE_LOST("dns:a.contoso.com", "ignored: a DHCP answer is in use")),
        line(9, log.CHAIN_RECEIVED(900), log.STAGE_ENDED("chain", "ok", 0.003)),
    )
    _, discovery, chain = story.steps
    assert discovery.found == (
        "won by dhcp:10.0.0.1: first",
        "lost by dns:a.contoso.com: ignored: a DHCP answer is in use",
    )
    assert chain.found == ("900 octets",)


def test_what_comes_after_the_end_of_a_boot_is_another_story():
    story, steps = told(
        line(221, log.SIGNED_IN("sip:a@contoso.com", "fe01.contoso.com:5061", 0.221)),
        line(400, log.SHUTDOWN(), log.STAGE_ENDED("register", "registrar-refused", 0.1)),
    )
    assert steps == []
    assert story.is_signed_in
    assert (story.seconds, story.user) == (0.221, "sip:a@contoso.com")


def test_a_cache_that_misled_is_remembered_when_discovery_helped():
    story, _ = told(
        line(0, log.CACHE_USED(URL, "gone.invalid", "discovered")),
        line(
            7,
            log.STAGE_ENDED("chain", "web-server-name-unresolved", 0.004),
            log.CACHE_UNUSABLE("chain: webpool.gone.invalid: NXDOMAIN"),
        ),
        line(900, log.SIGNED_IN("sip:a@contoso.com", "fe01.contoso.com:5061", 0.9)),
    )
    assert story.is_signed_in
    assert story.cache_fault == BootFailure(
        stage="chain",
        reason="web-server-name-unresolved",
        detail="chain: webpool.gone.invalid: NXDOMAIN",
    )
    assert story.failure is None


def test_a_failure_is_told_in_the_log_s_words():
    story, _ = told(
        line(3, log.BOOT_FAILED("ticket", "pin-incorrect", "HTTP 500", "not again until ..."))
    )
    assert story.is_over
    assert story.failure == BootFailure(stage="ticket", reason="pin-incorrect", detail="HTTP 500")
