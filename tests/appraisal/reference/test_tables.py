# SPDX-License-Identifier: Apache-2.0
"""The neutral form: out of a release and back, and text that is the same every time."""

from hypothesis import given, strategies

from nacre.appraisal.documents import Document
from nacre.appraisal.reference.tables import table_of, write
from nacre.appraisal.release import Release

DSTACK = f"""
id = "app"
layout = "dstack/ratls-cert"

[dstack]
compose_hash = ["{"ab" * 32}", "{"cd" * 32}"]

[[tdx]]
mrtd = "{"d0" * 48}"
rtmr0 = "any"
rtmr1 = "{"d1" * 48}"
rtmr2 = "{"d2" * 48}"
rtmr3 = "any"
"""


def test_there_and_back_is_the_same_release(worm: Release) -> None:
    again = Release.parse(write(table_of(worm)))
    assert again == worm
    assert again.fingerprint == worm.fingerprint


def test_what_is_asked_of_other_systems_is_kept() -> None:
    release = Release.parse(DSTACK)
    again = Release.parse(write(table_of(release)))
    assert release.facts
    assert again == release


def test_the_text_is_the_same_every_time(worm: Release) -> None:
    once = write(table_of(worm))
    assert write(table_of(Release.parse(once))) == once


@given(strategies.text(max_size=40), strategies.text(max_size=10))
def test_any_text_and_any_key_survive(text: str, key: str) -> None:
    table: dict[str, object] = {"id": text, "table": {key: [text, True, 7]}}
    try:
        text.encode()
        key.encode()
    except UnicodeEncodeError:
        return
    assert Document.parse(write(table), what="release", file="x").table == table
