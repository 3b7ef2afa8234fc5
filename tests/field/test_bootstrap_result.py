import pytest

from phonesim.field.boot_story import BootFailure, BootStep, BootStory
from phonesim.field.bootstrap_result import (
    plugin_line,
    plugin_text,
    result_block,
    result_of,
    time_span,
)

URL = "https://webpool.contoso.com:443/CertProv/CertProvisioningService.svc"


def story(**values):
    made = BootStory()
    made.url, made.registrar, made.source = URL, "fe01.contoso.com:5061", "dhcp:10.0.0.1"
    made.seconds = 6.3981276
    for name, value in values.items():
        setattr(made, name, value)
    return made


SIGNED_IN = {"is_signed_in": True, "user": "sip:a@contoso.com"}


def failed(stage, reason, detail="what happened"):
    return story(failure=BootFailure(stage=stage, reason=reason, detail=detail))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (6.3981276, "00:00:06.3981276"),
        (4.1993845, "00:00:04.1993845"),
        (0, "00:00:00"),
        (59.99999999, "00:01:00"),
        (3661.5, "01:01:01.5000000"),
        (90061, "1.01:01:01"),
    ],
)
def test_latency_is_a_time_span(seconds, text):
    assert time_span(seconds) == text


def test_success_is_told_as_the_cmdlet_does():
    result = result_of(story(**SIGNED_IN), "SIP:A@contoso.com", is_named=False)
    assert result_block(result, "") == [
        f"TargetUri  : {URL}",
        "TargetFqdn : fe01.contoso.com",
        "Result     : Success",
        "Latency    : 00:00:06.3981276",
        "Error      :",
        "Diagnosis  :",
    ]


def test_failure_is_told_as_the_cmdlet_does():
    result = result_of(failed("ticket", "web-services-timeout"), None, is_named=False)
    assert result_block(result, "web services answer too late") == [
        "TargetFqdn : fe01.contoso.com",
        "Result     : Failure",
        "Latency    : 00:00:06.3981276",
        "Error      : ERROR - No response received for Web-Ticket service.",
        "Diagnosis  : web services answer too late",
    ]


@pytest.mark.parametrize(
    ("came", "error"),
    [
        (
            failed("chain", "web-services-not-found"),
            "ERROR - chain: web-services-not-found: what happened",
        ),
        (
            failed("chain", "web-services-timeout"),
            "ERROR - chain: web-services-timeout: what happened",
        ),
        (story(**{**SIGNED_IN, "user": "sip:b@contoso.com"}), "not of sip:a@contoso.com"),
        (story(steps=[BootStep(stage="ip", result="ok", seconds=1)]), "came to no end"),
        (story(), "the last that it did was power"),
    ],
)
def test_errors(came, error):
    result = result_of(came, "sip:a@contoso.com", is_named=False)
    assert not result.is_success
    assert error in result.error


def test_a_target_that_does_not_work_is_no_success_though_others_were_found():
    fault = BootFailure(stage="chain", reason="web-services-refused", detail="chain: refused")
    came = story(**SIGNED_IN, cache_fault=fault)
    assert result_of(came, None, is_named=False).is_success
    named = result_of(came, None, is_named=True)
    assert named.error == "ERROR - chain: web-services-refused: chain: refused"


@pytest.mark.parametrize(
    ("warning", "critical", "status", "limits"),
    [
        (None, None, 0, ";;0"),
        (10, 20, 0, "10;20;0"),
        (5, 20, 1, "5;20;0"),
        (1, 5, 2, "1;5;0"),
    ],
)
def test_a_plugin_says_how_slow_it_was(warning, critical, status, limits):
    came = story(**SIGNED_IN, steps=[BootStep(stage="ip", result="ok", seconds=0.2)])
    came.steps.append(BootStep(stage="discovery", result="skipped", seconds=0))
    result = result_of(came, None, is_named=False)
    got, line = plugin_line("4711", result, came, "", warning, critical)
    assert got == status
    word = ("OK", "WARNING", "CRITICAL")[status]
    assert line.startswith(f"BOOTSTRAP {word} - 4711 signed in at fe01.contoso.com in 6.398 s | ")
    assert line.endswith(f" | latency=6.398s;{limits} ip=0.200s")


def test_a_plugin_names_the_failure_and_its_cause():
    came = failed("ticket", "pin-locked", "HTTP 500: a|b\nc")
    result = result_of(came, None, is_named=False)
    status, line = plugin_line("4711", result, came, "the user's PIN is locked", 1, 2)
    assert status == 2
    assert line.startswith(
        "BOOTSTRAP CRITICAL - ticket: pin-locked: HTTP 500: a/b c (the user's PIN is locked) | "
    )
    assert plugin_text(3, "no site", []) == "BOOTSTRAP UNKNOWN - no site"
