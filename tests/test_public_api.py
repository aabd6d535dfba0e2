# SPDX-License-Identifier: Apache-2.0
"""What `import nacre` promises."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import nacre

_MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(nacre.__path__, "nacre.")
    if not info.name.rpartition(".")[2].startswith("_")
)

#: The public API is about twenty names (design, §3).
_FEW = 30


def test_every_public_name_exists_and_is_documented() -> None:
    assert nacre.__doc__
    for name in nacre.__all__:
        value = getattr(nacre, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), name


def test_public_names_are_few_and_told_once() -> None:
    assert len(nacre.__all__) == len(set(nacre.__all__))
    assert len(nacre.__all__) <= _FEW


def test_public_names_are_listed() -> None:
    assert set(nacre.__all__) <= set(dir(nacre))


def test_each_public_name_comes_from_one_room() -> None:
    values = [
        getattr(nacre, name)
        for name in nacre.__all__
        if inspect.isclass(getattr(nacre, name)) or inspect.isroutine(getattr(nacre, name))
    ]
    assert len({id(value) for value in values}) == len(values)
    assert all(value.__module__.startswith("nacre.") for value in values)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        nacre.golden_values  # noqa: B018  # the access is what is tested


@pytest.mark.parametrize("name", _MODULES)
def test_modules_export_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    names: list[str] = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    for public in names:
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", _MODULES)
def test_modules_define_what_they_export(name: str) -> None:
    """A name is exported where it is made, so that all has one home; packages and simulators gather."""
    module = importlib.import_module(name)
    if hasattr(module, "__path__") or name.endswith(".simulate"):
        return
    borrowed = [public for public in getattr(module, "__all__", []) if not _made_in(module, public)]
    assert borrowed == []


def _made_in(module: ModuleType, public: str) -> bool:
    value = getattr(module, public)
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return True  # an instance has the module of its class
    if "<locals>" in getattr(value, "__qualname__", ""):
        return True  # and a function that was made here that of its maker
    home = getattr(value, "__module__", module.__name__)
    return home == module.__name__ or not str(home).startswith("nacre.")


def test_the_command_and_the_network_stay_out_of_the_import() -> None:
    program = "import sys, nacre; print(*(name for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert not {"click", "rich", "urllib.request", "http.client", "ssl", "asyncio"} & set(
        loaded.stdout.split()
    )
