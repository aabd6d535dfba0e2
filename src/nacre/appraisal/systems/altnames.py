# SPDX-License-Identifier: Apache-2.0
"""DNS names of a certificate, as systems misuse them to carry bytes."""

from typing import Final

from nacre.errors import MalformedEvidence
from nacre.trust import der
from nacre.trust.x509 import Certificate

__all__ = ["dns_names"]

#: 2.5.29.17, subjectAltName.
_ALTERNATIVE_NAMES: Final = bytes.fromhex("551d11")
_DNS_NAME: Final = 0x82
_MAX_NAMES: Final = 256


def dns_names(certificate: Certificate) -> tuple[str, ...]:
    """Return the DNS names of a certificate, in its order; none if it has no such extension.

    They are as long as somebody made them: here a label is not held to the 63 letters of DNS.

    Raises:
        MalformedEvidence: The extension is malformed, or a name is not ASCII.
    """
    entry = certificate.extensions.get(_ALTERNATIVE_NAMES)
    if entry is None:
        return ()
    value = entry[1]
    names: list[str] = []
    try:
        at, end = der.whole(value, der.SEQUENCE)
        while at != end:
            tag, start, at = der.tagged(value, at, end)
            if tag == _DNS_NAME:
                names.append(value[start:at].decode("ascii"))
    except UnicodeDecodeError:
        raise MalformedEvidence("text-invalid", what="subjectAltName", offset=0) from None
    except MalformedEvidence as error:
        raise der.naming(error, "subjectAltName") from None
    if len(names) > _MAX_NAMES:
        raise MalformedEvidence("too-many", what="subjectAltName", expected=_MAX_NAMES, actual=len(names))
    return tuple(names)
