import pytest

from phonesim.wire.endpoint import epid_for, gruu, sip_instance

# Sign-in reference section 15.4: epids and instances of real endpoints.
INSTANCES = {
    "492a7ce35f": "B43B3D1D-9F8F-5FDC-9F74-3CA273CADB97",
    "8248ca9ebb": "4233FD41-093B-5FD6-B5D2-651ED55969E6",
    "2ebb6f264f": "124841E4-264D-52E8-96C5-D22AA8CDC316",
    "a0ae9e6cb0": "C1589240-E660-594F-A8B3-4B55F358CBC1",
    "c8ca638a15": "34D859DB-6585-5F91-A3B4-DE853C15347D",
    "8213020FD0F0CV": "E8C7BF50-C217-51C8-A203-227CA4874333",
    # What the rule gives for the example of [MS-SIPRE] section 4.10, which breaks it.
    "e06accb078": "1154C9CA-E4F3-5C3B-9B05-18D9CD0C10DB",
}

# Section 15.5.
GRUU_PARTS = {
    "34D859DB-6585-5F91-A3B4-DE853C15347D": "21nYNIVlkV-jtN6FPBU0fQAA",
    "c1589240-e660-594f-a8b3-4b55f358cbc1": "QJJYwWDmT1mos0tV81jLwQAA",
    "75ab1008-bcc4-5544-924d-aa177c824291": "CBCrdcS8RFWSTaoXfIJCkQAA",
}

MAC = bytes.fromhex("0004f2000001")


@pytest.mark.parametrize(("epid", "instance"), INSTANCES.items())
def test_the_instance_follows_from_the_epid(epid: str, instance: str) -> None:
    assert sip_instance(epid) == instance


@pytest.mark.parametrize(("instance", "part"), GRUU_PARTS.items())
def test_a_gruu_names_the_instance(instance: str, part: str) -> None:
    expected = f"sip:user@cosmo.local;opaque=user:epid:{part};gruu"
    assert gruu("sip:user@cosmo.local", instance) == expected


def test_the_epid_is_ten_hexadecimal_characters_and_stable() -> None:
    epid = epid_for(MAC, "sip:alice@contoso.com")
    assert len(epid) == 10
    assert epid == f"{int(epid, 16):010x}"
    assert epid == epid_for(MAC, "sip:alice@contoso.com")


def test_the_epid_differs_by_device_and_by_user() -> None:
    epids = {
        epid_for(MAC, "sip:alice@contoso.com"),
        epid_for(MAC, "sip:bob@contoso.com"),
        epid_for(bytes.fromhex("0004f2000002"), "sip:alice@contoso.com"),
    }
    assert len(epids) == 3
