# SPDX-License-Identifier: Apache-2.0
"""Answer one conformance case with dcap-qvl: the hermetic contract on stdin and stdout.

The library is called with the anchor of the case and reports a TCB status, which it leaves to its caller:
here, as the vectors' profile has it, every status passes but Revoked.
"""

import json
import sys

import dcap_qvl
import msgspec

from nacre.trust.times import parse_rfc3339


class _Question(msgspec.Struct, frozen=True):
    platform: str
    evidence: bytes
    collateral: dict[str, bytes]
    time: str
    anchor: bytes | None = None


def main() -> int:
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=_Question)
    if asked.platform not in ("sgx", "tdx") or asked.anchor is None:
        return _say("fail", "not this kind of evidence", 20)
    try:
        at = parse_rfc3339(asked.time, what="time")
        report = dcap_qvl.verify_with_root_ca(asked.evidence, _collateral(asked), asked.anchor, at)
    except Exception as error:  # noqa: BLE001 (whatever it raises is its answer)
        return _say("fail", str(error), 10)
    found = {"tcb_status": report.status, "advisory_ids": sorted(report.advisory_ids)}
    if report.status == "Revoked":
        return _say("fail", "Revoked", 10, **found)
    return _say("pass", "", 0, **found)


def _collateral(asked: _Question) -> dcap_qvl.QuoteCollateralV3:
    documents = asked.collateral
    tcb_info, tcb_info_signature = _split(documents["tcb_info"])
    identity, identity_signature = _split(documents["qe_identity"])
    return dcap_qvl.QuoteCollateralV3(
        pck_crl_issuer_chain=documents["pck_crl_issuer_chain"].decode(),
        root_ca_crl=documents["root_ca_crl"],
        pck_crl=documents["pck_crl"],
        tcb_info_issuer_chain=documents["tcb_info_issuer_chain"].decode(),
        tcb_info=tcb_info,
        tcb_info_signature=tcb_info_signature,
        qe_identity_issuer_chain=documents["qe_identity_issuer_chain"].decode(),
        qe_identity=identity,
        qe_identity_signature=identity_signature,
    )


def _split(document: bytes) -> tuple[str, bytes]:
    """Take a document of Intel's apart as the library wants it: the signed text and the signature."""
    signed, signature = document[document.index(b":") + 1 :].rsplit(b',"signature"', 1)
    return signed.decode(), bytes.fromhex(msgspec.json.decode(signature.strip(b":}\n "), type=str))


def _say(verdict: str, code: str, status: int, **found: object) -> int:
    print(json.dumps({"verdict": verdict, "code": code, **found}))
    return status


if __name__ == "__main__":
    sys.exit(main())
