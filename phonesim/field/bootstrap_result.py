"""What became of a bootstrap, in the form of Test-CsPhoneBootstrap, and as one line of a plugin.

    TargetUri  : https://webpool.contoso.com:443/CertProv/CertProvisioningService.svc
    TargetFqdn : fe01.contoso.com
    Result     : Success
    Latency    : 00:00:00.2210000
    Error      :
    Diagnosis  :

Without success there is no TargetUri [documented]. Of the vendor's texts for Error one is
published, that of web tickets without an answer; the others are this program's. The vendor's
Diagnosis was empty in what is published; here it is the first finding.

Specifications: device reference section 18.1; .NET TimeSpan, format "c"; Monitoring Plugins
Development Guidelines (status, perfdata).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from phonesim.device.outcome import FailureReason, Stage
from phonesim.field.boot_story import BootStory

_TICKS_PER_SECOND = 10_000_000
_NO_TICKET = "ERROR - No response received for Web-Ticket service."
_NO_RESPONSE = frozenset(
    {
        FailureReason.WEB_SERVICES_REFUSED,
        FailureReason.WEB_SERVICES_TIMEOUT,
        FailureReason.WEB_SERVICES_UNAVAILABLE,
    }
)

PluginStatus = Literal[0, 1, 2, 3]
_STATUS_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


class BootstrapResult(msgspec.Struct, frozen=True, kw_only=True):
    """One phone's result. `seconds` is the time from power to its end, `error` empty if it is
    well; `user` and `source`, who named the servers, are empty where it did not come so far.
    """

    target_uri: str
    target_fqdn: str
    is_success: bool
    seconds: float
    error: str
    user: str
    source: str


def result_of(story: BootStory, sip_uri: str | None, *, is_named: bool) -> BootstrapResult:
    """Return what a boot came to, for the owner `sip_uri` if one was given.

    With `is_named` the servers were named to the phone: it is no success to have found others.
    """
    error = _error(story, sip_uri, is_named=is_named)
    host = story.registrar.rpartition(":")[0] or story.registrar or _host(story.url)
    return BootstrapResult(
        target_uri=story.url,
        target_fqdn=host,
        is_success=not error,
        seconds=story.seconds,
        error=error,
        user=story.user,
        source=story.source,
    )


def result_block(result: BootstrapResult, diagnosis: str) -> list[str]:
    """Return the lines of a result."""
    fields = [
        ("TargetUri", result.target_uri if result.is_success else None),
        ("TargetFqdn", result.target_fqdn),
        ("Result", "Success" if result.is_success else "Failure"),
        ("Latency", time_span(result.seconds)),
        ("Error", result.error),
        ("Diagnosis", diagnosis),
    ]
    return [f"{name:<10} : {value}".rstrip() for name, value in fields if value is not None]


def time_span(seconds: float) -> str:
    """Return [d.]hh:mm:ss[.fffffff], as .NET writes a TimeSpan."""
    whole, ticks = divmod(round(seconds * _TICKS_PER_SECOND), _TICKS_PER_SECOND)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    text = f"{hour:02}:{minute:02}:{second:02}"
    return (f"{days}." if days else "") + text + (f".{ticks:07}" if ticks else "")


def plugin_line(
    number: str,
    result: BootstrapResult,
    story: BootStory,
    diagnosis: str,
    warning: float | None,
    critical: float | None,
) -> tuple[PluginStatus, str]:
    """Return a plugin's exit status and its line; `warning` and `critical` are seconds."""
    status: PluginStatus
    text = f"{number} signed in at {result.target_fqdn} in {result.seconds:.3f} s"
    if not result.is_success:
        status = 2
        text = result.error.removeprefix("ERROR - ") + (f" ({diagnosis})" if diagnosis else "")
    elif critical is not None and result.seconds > critical:
        status = 2
    elif warning is not None and result.seconds > warning:
        status = 1
    else:
        status = 0
    limits = ";".join("" if limit is None else f"{limit:g}" for limit in (warning, critical))
    figures = [f"latency={result.seconds:.3f}s;{limits};0"]
    durations: dict[str, float] = {}
    for step in story.steps:
        if step.result != "skipped":
            durations[step.stage] = durations.get(step.stage, 0) + step.seconds
    figures += (f"{stage}={seconds:.3f}s" for stage, seconds in durations.items())
    return status, plugin_text(status, text, figures)


def plugin_text(status: PluginStatus, text: str, figures: list[str]) -> str:
    """Return a plugin's line: what stands in it may not hold a bar or a line's end."""
    said = " ".join(text.replace("|", "/").split())
    perfdata = f" | {' '.join(figures)}" if figures else ""
    return f"BOOTSTRAP {_STATUS_WORDS[status]} - {said}{perfdata}"


def _error(story: BootStory, sip_uri: str | None, *, is_named: bool) -> str:
    failure = story.cache_fault if is_named and story.cache_fault is not None else story.failure
    if failure is not None:
        if failure.stage == Stage.TICKET and failure.reason in _NO_RESPONSE:
            return _NO_TICKET
        return f"ERROR - {failure.stage}: {failure.reason}: {failure.detail}"
    if not story.is_signed_in:
        last = story.steps[-1].stage if story.steps else "power"
        return f"ERROR - The phone came to no end: the last that it did was {last}."
    if sip_uri is not None and story.user.lower() != sip_uri.lower():
        return f"ERROR - The number is that of {story.user}, not of {sip_uri}."
    return ""


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
