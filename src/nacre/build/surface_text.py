# SPDX-License-Identifier: Apache-2.0
"""An attack surface report, and what changed between two, in words."""

from collections.abc import Iterator, Mapping, Sequence

from nacre.build.hardening import PROTECTS, WIDENS
from nacre.build.surface import Change, Surface

__all__ = ["compared", "lines"]

_COLUMN = 16
_MIB = 1 << 20
#: What each list is called, and what is said where it is empty.
_TITLES = {
    "components": ("made of", "nothing that was recorded"),
    "programs": ("programs", "none"),
    "scripts": ("scripts", "none"),
    "libraries": ("libraries", "none"),
    "modules": ("kernel modules", "none"),
    "interpreters": ("interpreters", "none"),
    "shells": ("shells", "none"),
    "tools": ("tools", "none"),
    "special": ("special files", "none: no setuid, no device, nothing that all may write"),
    "listens": ("listens", "nothing"),
    "egress": ("may reach", "no host"),
    "grants": ("beyond usual", "nothing"),
    "calls_refused": ("calls refused", "none: it may make every call that the kernel has"),
    "kernel_widens": ("kernel has", "nothing of what this report looks for"),
    "kernel_lacks": ("kernel lacks", "no protection that this report looks for"),
}
_NUMBERS = {
    "files": "files",
    "size": "bytes of files",
    "kernel_size": "bytes of the kernel",
    "kernel_options": "options of the kernel",
}
_WHY: Mapping[str, Mapping[str, str]] = {"kernel_widens": WIDENS, "kernel_lacks": PROTECTS}
#: Of these only the number is shown, unless all are asked for.
_MANY = ("components", "programs", "scripts", "libraries", "modules")


def lines(report: Surface, *, whole: bool = False) -> Iterator[str]:
    """Say what a report has.

    Args:
        report: The report.
        whole: Whether long lists are shown too, and not their length alone.
    """
    yield f"{_shown(report.application)}: what can be attacked"
    yield ""
    yield from _entry("files", [f"{report.files}, {_size(report.size)}"])
    kernel = f"{report.kernel_version}, {_size(report.kernel_size)}, {report.kernel_options} options set"
    yield from _entry("kernel", [kernel])
    for name, (title, nothing) in _TITLES.items():
        names: Sequence[str] = getattr(report, name)
        why = _WHY.get(name, {})
        if name in _MANY and names and not whole:
            yield from _entry(title, [str(len(names))])
        elif why and names:
            yield from _entry(title, [f"{one}: {why.get(one, 'not known to this Nacre')}" for one in names])
        else:
            yield from _entry(title, names or [nothing])
    yield ""
    yield "Which calls its programs really make, and what they would listen on by themselves, no file tells."


def compared(found: Sequence[Change]) -> Iterator[str]:
    """Say what changed."""
    if not found:
        yield "nothing changed"
    for change in found:
        if change.by:
            yield f"  {change.by:+} {_NUMBERS.get(change.name, change.name)}"
            continue
        title = _TITLES.get(change.name, (change.name.replace("_", " "), ""))[0]
        why = _WHY.get(change.name, {})
        for sign, names in (("+", change.added), ("-", change.removed)):
            for one in names:
                yield f"{sign} {title}: {_shown(one)}" + (f" ({why[one]})" if one in why else "")


def _entry(title: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        yield f"{title:<{_COLUMN}}{_shown(text)}"
        title = ""


def _shown(text: str) -> str:
    """Keep names that somebody else chose from steering the terminal."""
    return text if text.isprintable() else ascii(text)


def _size(size: int) -> str:
    return f"{size / _MIB:.1f} MiB"
