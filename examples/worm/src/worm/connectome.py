# SPDX-License-Identifier: Apache-2.0
"""Who is wired to whom in a C. elegans hermaphrodite, and how strongly.

Source: Cook et al. 2019, Nature 571:63, SI 7; the file is OpenWorm's copy, byte for byte (see README.md).
"""

import csv
import hashlib
from pathlib import Path

__all__ = ["CELLS", "DIGEST", "MUSCLES", "NEURONS", "SENSES", "SYNAPSES"]

_BYTES = Path(__file__).with_name("connectome.csv").read_bytes()

#: SHA-256 of the file of connections.
DIGEST = hashlib.sha256(_BYTES).digest()

_ROWS = [[field.strip() for field in row] for row in csv.reader(_BYTES.decode("ascii").splitlines())][1:]

#: All cells, by name, in ASCII order; everywhere else a cell is its index here.
CELLS = sorted({row[0] for row in _ROWS} | {row[1] for row in _ROWS})
_INDEX = {name: index for index, name in enumerate(CELLS)}

#: Neurons are the cells whose names have no small letters.
NEURONS = [index for index, name in enumerate(CELLS) if name.isupper()]

#: The 95 muscles of the body wall: dorsal or ventral, left or right, numbered from the head.
MUSCLES = [index for index, name in enumerate(CELLS) if name[1:4] == "BWM"]

# The neurons that inhibit by GABA (McIntire et al. 1993).
_INHIBITORY = ("DD0", "VD0", "VD1", "RME", "AVL", "DVB", "RIS")

#: For each cell its outgoing (target, weight): inhibiting chemical synapses count below zero.
SYNAPSES: list[list[tuple[int, int]]] = [[] for _ in CELLS]
for _source, _target, _weight, _kind in _ROWS:
    _sign = -1 if _kind == "chemical" and _source.startswith(_INHIBITORY) else 1
    SYNAPSES[_INDEX[_source]].append((_INDEX[_target], _sign * int(_weight)))

#: What can be done to a worm, and the neurons that feel it, in the order in which a trace counts them.
#: Source: Chalfie et al. 1985 (body), Kaplan and Horvitz 1993 (nose), WormAtlas (the others).
SENSES: dict[str, list[int]] = {
    sense: [_INDEX[name] for name in names.split()]
    for sense, names in {
        "nose": "ASHL ASHR FLPL FLPR OLQDL OLQDR OLQVL OLQVR",
        "head": "ALML ALMR AVM",
        "tail": "PLML PLMR",
        "odour": "AWAL AWAR AWCL AWCR",
        "salt": "ASEL ASER",
        "warmth": "AFDL AFDR",
    }.items()
}
