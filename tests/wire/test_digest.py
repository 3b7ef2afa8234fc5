import msgspec
import pytest

from phonesim.wire.digest import digest_credentials, digest_verifies, is_answerable
from phonesim.wire.sip import Challenge, Credentials

REALM = "http-auth@example.org"
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def challenge(*extra: tuple[str, str], scheme: str = "Digest") -> Challenge:
    return Challenge(scheme=scheme, parameters=(("realm", REALM), ("nonce", NONCE), *extra))


def answer(asked: Challenge, password: str = "Circle of Life") -> Credentials | None:
    return digest_credentials(
        asked,
        method="GET",
        uri="/dir/index.html",
        username="Mufasa",
        password=password,
        cnonce=CNONCE,
    )


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616_section_3_9_1(algorithm: str, response: str) -> None:
    asked = challenge(("qop", "auth, auth-int"), ("algorithm", algorithm), ("opaque", OPAQUE))
    credentials = answer(asked)
    assert credentials == Credentials(
        scheme="Digest",
        parameters=(
            ("username", "Mufasa"),
            ("realm", REALM),
            ("nonce", NONCE),
            ("uri", "/dir/index.html"),
            ("response", response),
            ("algorithm", algorithm),
            ("cnonce", CNONCE),
            ("qop", "auth"),
            ("nc", "00000001"),
            ("opaque", OPAQUE),
        ),
    )


def test_the_example_of_rfc_2617_section_3_5() -> None:
    credentials = digest_credentials(
        Challenge(
            scheme="Digest",
            parameters=(
                ("realm", "testrealm@host.com"),
                ("qop", "auth,auth-int"),
                ("nonce", "dcd98b7102dd2f0e8b11d0f600bfb0c093"),
                ("opaque", "5ccc069c403ebaf9f0171e9517f40e41"),
            ),
            is_proxy=True,
        ),
        method="GET",
        uri="/dir/index.html",
        username="Mufasa",
        password="Circle Of Life",
        cnonce="0a4f113b",
    )
    assert credentials is not None
    assert credentials.is_proxy
    given = dict(credentials.parameters)
    assert given["response"] == "6629fae49393a05397450978507c4ef1"
    assert "algorithm" not in given


def test_the_example_of_rfc_2069_section_2_4_as_its_erratum_corrects_it() -> None:
    asked = Challenge(
        scheme="Digest",
        parameters=(
            ("realm", "testrealm@host.com"),
            ("nonce", "dcd98b7102dd2f0e8b11d0f600bfb0c093"),
        ),
    )
    credentials = answer(asked, password="CircleOfLife")
    assert credentials == Credentials(
        scheme="Digest",
        parameters=(
            ("username", "Mufasa"),
            ("realm", "testrealm@host.com"),
            ("nonce", "dcd98b7102dd2f0e8b11d0f600bfb0c093"),
            ("uri", "/dir/index.html"),
            ("response", "1949323746fe6a43ef61f9606e7febea"),
        ),
    )


@pytest.mark.parametrize(
    "asked",
    [
        challenge(("algorithm", "MD5-sess")),
        challenge(("algorithm", "SHA-512-256")),
        challenge(("qop", "auth-int")),
        challenge(scheme="NTLM"),
        Challenge(scheme="Digest", parameters=(("realm", REALM),)),
        Challenge(scheme="Digest", parameters=(("nonce", NONCE),)),
    ],
)
def test_what_is_not_supported_gets_no_answer(asked: Challenge) -> None:
    assert answer(asked) is None
    assert not is_answerable(asked)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "md5", "sha-256"])
@pytest.mark.parametrize("qop", [(), (("qop", "auth"),)])
def test_an_answer_verifies_only_with_its_password_and_method(
    algorithm: str, qop: tuple[tuple[str, str], ...]
) -> None:
    credentials = answer(challenge(("algorithm", algorithm), *qop), password="pässword")
    assert credentials is not None
    assert digest_verifies(credentials, method="GET", password="pässword")
    assert not digest_verifies(credentials, method="GET", password="password")
    assert not digest_verifies(credentials, method="PUT", password="pässword")


def changed(credentials: Credentials, name: str, value: str | None) -> Credentials:
    parameters = [(key, text) for key, text in credentials.parameters if key != name]
    if value is not None:
        parameters.append((name, value))
    return msgspec.structs.replace(credentials, parameters=tuple(parameters))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, None) for name in ("username", "realm", "nonce", "uri", "response", "nc")),
        ("cnonce", None),
        ("cnonce", "other"),
        ("nc", "00000002"),
        ("nonce", "other"),
        ("realm", "other"),
        ("uri", "/other"),
        ("username", "Scar"),
        ("response", "ü" * 32),
        ("response", ""),
        ("qop", "auth-int"),
        ("algorithm", "MD5-sess"),
        ("algorithm", "SHA-256"),
    ],
)
def test_a_changed_answer_does_not_verify(name: str, value: str | None) -> None:
    credentials = answer(challenge(("qop", "auth"), ("algorithm", "MD5")))
    assert credentials is not None
    assert not digest_verifies(
        changed(credentials, name, value), method="GET", password="Circle of Life"
    )


def test_an_answer_that_says_something_twice_does_not_verify() -> None:
    credentials = answer(challenge())
    assert credentials is not None
    twice = msgspec.structs.replace(
        credentials, parameters=(("username", "Scar"), *credentials.parameters)
    )
    assert not digest_verifies(twice, method="GET", password="Circle of Life")


def test_another_scheme_does_not_verify() -> None:
    credentials = answer(challenge())
    assert credentials is not None
    other = msgspec.structs.replace(credentials, scheme="NTLM")
    assert not digest_verifies(other, method="GET", password="Circle of Life")


def test_each_use_of_a_nonce_gives_another_response() -> None:
    responses = set()
    for nc in (1, 2, 255):
        credentials = digest_credentials(
            challenge(("qop", "auth")),
            method="REGISTER",
            uri="sip:example.org",
            username="Mufasa",
            password="Circle of Life",
            cnonce=CNONCE,
            nc=nc,
        )
        assert credentials is not None
        given = dict(credentials.parameters)
        assert given["nc"] == f"{nc:08x}"
        assert digest_verifies(credentials, method="REGISTER", password="Circle of Life")
        responses.add(given["response"])
    assert len(responses) == 3
