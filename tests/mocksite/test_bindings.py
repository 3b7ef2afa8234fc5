import pytest

from phonesim.mocksite.bindings import Bindings, Endpoint
from phonesim.wire.endpoint import gruu, sip_instance
from phonesim.wire.sip import Contact, NameAddress, SipRequest

AOR = "sip:alice@contoso.com"
EPIDS = ("1111111111", "2222222222", "3333333333")


def request(epid=EPIDS[0], instance=None, cseq=1):
    return SipRequest(
        method="REGISTER",
        uri="sip:contoso.com",
        vias=("SIP/2.0/TLS 10.0.0.1",),
        sender=NameAddress(uri=AOR, tag="a", epid=epid),
        recipient=NameAddress(uri=AOR),
        call_id=f"call-{epid}",
        cseq=cseq,
        contacts=(Contact(uri="sip:10.0.0.1", instance=instance),),
    )


def bind(bindings, asked, until=600.0, connection=1):
    endpoint = bindings.endpoint(AOR, asked)
    assert isinstance(endpoint, Endpoint)
    return bindings.bind(AOR, endpoint, asked, connection, until)


def epids(bindings, now=0.0):
    return [binding.epid for binding in bindings.current(now)]


def test_an_endpoint_is_named_by_its_epid_or_its_instance():
    bindings = Bindings(8)
    instance = sip_instance(EPIDS[0])
    assert bindings.endpoint(AOR, request()) == Endpoint(instance, None)
    assert bindings.endpoint(AOR, request(None, instance.lower())) == Endpoint(instance, None)
    bind(bindings, request())
    (held,) = bindings.current(0)
    assert bindings.endpoint(AOR, request()) == Endpoint(instance, held)
    assert held.gruu == gruu(AOR, instance)


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (request(EPIDS[0], sip_instance(EPIDS[1])), "not derived"),
        (request(None, "no-uuid"), "no UUID"),
        (request("\u20ac"), "no UUID"),
    ],
)
def test_what_is_wrong_with_a_name_is_told(asked, fault):
    assert fault in Bindings(8).endpoint(AOR, asked)


def test_bindings_end_by_the_clock():
    bindings = Bindings(8)
    bind(bindings, request(EPIDS[0]), 100)
    bind(bindings, request(EPIDS[1]), 200)
    assert epids(bindings, 99) == [EPIDS[0], EPIDS[1]]
    assert epids(bindings, 100) == [EPIDS[1]]
    assert [contact.expires for contact in bindings.contacts(AOR, 150)] == [50]
    bindings.expire(AOR, 150)
    assert epids(bindings) == [EPIDS[1]]


def test_one_too_many_pushes_out_who_was_silent_for_longest():
    bindings = Bindings(2)
    assert bind(bindings, request(EPIDS[0])) is None
    assert bind(bindings, request(EPIDS[1]), connection=2) is None
    assert bind(bindings, request(EPIDS[0], cseq=2)) is None
    pushed_out = bind(bindings, request(EPIDS[2]))
    assert (pushed_out.epid, pushed_out.connection_id) == (EPIDS[1], 2)
    assert epids(bindings) == [EPIDS[0], EPIDS[2]]


def test_bindings_are_removed_one_by_one_or_all():
    bindings = Bindings(8)
    for epid in EPIDS:
        bind(bindings, request(epid))
    bindings.remove(AOR, sip_instance(EPIDS[1]))
    bindings.remove(AOR, sip_instance(EPIDS[1]))
    assert epids(bindings) == [EPIDS[0], EPIDS[2]]
    bindings.clear(AOR)
    bindings.clear(AOR)
    assert bindings.contacts(AOR, 0) == ()
