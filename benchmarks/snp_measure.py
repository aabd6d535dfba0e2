# SPDX-License-Identifier: Apache-2.0
"""Launch digests of SEV-SNP, against ``sev-snp-measure`` on the same firmware.

The firmware is OVMF where the package of that name is installed, else bytes of the same size of which a
quarter are empty pages. The peer reads its files each time, so Nacre does as well. Under "firmware known" the
digest of the firmware's own pages is kept, as whoever measures several sizes of a machine keeps it; the peer
can be given it too (``snp_ovmf_hash_str``), and is.

The floor is one SHA-384 for each different page of the firmware: no implementation can do with less as long
as it has not seen the firmware.
"""

import hashlib
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve
from sevsnpmeasure import guest
from sevsnpmeasure.sev_mode import SevMode
from tests.platforms.snp.firmware import SECTIONS, firmware, listed

from nacre.platforms.snp.cpus import signature
from nacre.platforms.snp.firmware import Firmware, read_firmware
from nacre.platforms.snp.measure import Launch, firmware_digest
from nacre.platforms.snp.measure import measure as launch_digest

QUICK = Budget(rounds=6, pieces=0, processes=0)
FULL = Budget(rounds=60, pieces=0, processes=0)

_SECTION = "Launch digests of SEV-SNP"
_OVMF = Path("/usr/share/ovmf/OVMF.fd")
_PAGES, _PAGE = 512, 4096
_LAUNCH = Launch(cpus=8, signature=signature("EPYC-v4"))


class _Bench:
    """The same launch, computed by both."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.pages = tuple(_different(path.read_bytes()))
        self._known = self._read()
        self._digest = firmware_digest(self._known)

    def _read(self) -> Firmware:
        return read_firmware(self._path.read_bytes())

    def cold(self) -> bytes:
        return launch_digest(self._read(), _LAUNCH).registers["measurement"]

    def known(self) -> bytes:
        return launch_digest(self._known, _LAUNCH, start=self._digest).registers["measurement"]

    def peer(self) -> bytes:
        return self._peer("")

    def peer_known(self) -> bytes:
        return self._peer(self._digest.hex())

    def floor(self) -> None:
        for page in self.pages:
            hashlib.sha384(page).digest()

    def _peer(self, known: str) -> bytes:
        digest: bytes = guest.calc_launch_digest(
            SevMode.SEV_SNP,
            _LAUNCH.cpus,
            _LAUNCH.signature,
            str(self._path),
            "",
            "",
            "",
            _LAUNCH.features,
            known,
        )
        return digest


def _different(data: bytes) -> dict[bytes, None]:
    return dict.fromkeys(data[at : at + _PAGE] for at in range(0, len(data), _PAGE))


def _made_up() -> bytes:
    image = bytearray(firmware(listed(SECTIONS), pages=_PAGES))
    for page in range(_PAGES // 4, _PAGES - 1):
        image[page * _PAGE : page * _PAGE + 4] = page.to_bytes(4, "little")
    return bytes(image)


def measure(budget: Budget) -> Measured:
    """Race on one firmware."""
    with tempfile.TemporaryDirectory() as folder:
        path = _OVMF
        if not path.is_file():
            path = Path(folder) / "firmware"
            path.write_bytes(_made_up())
        bench = _Bench(path)
        runs = (bench.peer, bench.peer_known, bench.cold, bench.known)
        assert len({run() for run in runs}) == 1
        times = race(
            [Contender(run.__name__, run) for run in (*runs, bench.floor)],
            rounds=budget.rounds,
        )
        size = path.stat().st_size

    def row(what: str, above: str, below: str, goal: float | None) -> Row:
        return Row.of(_SECTION, "OpenSSL", what, ratio(times, above, below), goal=goal)

    rows = [
        row("firmware known, speed against sev-snp-measure", "peer", "known", 10.0),
        row("firmware known to both, speed against sev-snp-measure", "peer_known", "known", None),
        row("firmware new, speed against sev-snp-measure", "peer", "cold", None),
        row("firmware new, to the SHA-384 of its different pages", "cold", "floor", None),
    ]
    kind = "OVMF" if path == _OVMF else "made up"
    facts = {
        "sev-snp-measure": version("sev-snp-measure"),
        "firmware": f"{kind}, {size} bytes, {len(bench.pages)} different pages",
    }
    return Measured(rows, microseconds("launch digest", times), facts)


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
