"""What a phone's clients meet when they connect by TLS: a server's context as anybody's is."""

import ssl

from phonesim.drivers.authority import CertificateKind, SiteAuthority
from phonesim.drivers.trust import load_credentials


def tls_server(
    authority: SiteAuthority, name: str, kind: CertificateKind = "valid"
) -> ssl.SSLContext:
    """A context that shows such a certificate of `name`, issued by `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    credentials = authority.server_credentials((name,), kind)
    load_credentials(context, credentials.certificate, credentials.key)
    return context
