import pytest

from phonesim.config.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("7d", 604800), ("1.5h", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "-1s", "10 m", "1x", "signed in", "0s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="should be"):
        parse_duration(text)
