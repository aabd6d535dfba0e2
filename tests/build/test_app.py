# SPDX-License-Identifier: Apache-2.0
"""``nacre.toml``: every key is read, every value that cannot be is refused by its name."""

from pathlib import Path

import pytest

from nacre.build.app import App, Resources
from nacre.errors import ConfigurationError

_LEAST = 'name = "worm"\nversion = "1.0.0"\nentry = ["python3", "-m", "worm"]\n'


def _load(tmp_path: Path, text: str) -> App:
    file = tmp_path / "nacre.toml"
    file.write_text(text)
    return App.load(file)


def _refused(tmp_path: Path, text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        _load(tmp_path, text)
    assert "nacre.toml" in str(caught.value)
    return caught.value


def test_the_least_that_an_application_says(tmp_path: Path) -> None:
    app = _load(tmp_path, _LEAST)
    assert app == App(name="worm", version="1.0.0", entry=("python3", "-m", "worm"))
    assert app.source == "."
    assert app.environment == {}
    assert app.port is None
    assert app.egress == ()
    assert app.restart == "never"
    assert app.raw_report_data is False
    assert app.profile == "standard"
    assert app.resources == Resources(memory=256, cpus=1)
    assert App.load(tmp_path) == app  # the folder will do


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
name = "a-1"
version = "2.0.0-rc1"
entry = ["./run", "--fast", "a b"]
source = "src/inner"
port = 8080
egress = ["api.example.com:443", "localhost:1", "192.0.2.1:65535"]
restart = "on-failure"
raw_report_data = true
[environment]
LANG = "C"
_a1 = ""
[resources]
memory = 512
cpus = 2
"""
    assert _load(tmp_path, text) == App(
        name="a-1",
        version="2.0.0-rc1",
        entry=("./run", "--fast", "a b"),
        source="src/inner",
        environment={"LANG": "C", "_a1": ""},
        port=8080,
        egress=("api.example.com:443", "localhost:1", "192.0.2.1:65535"),
        restart="on-failure",
        raw_report_data=True,
        resources=Resources(memory=512, cpus=2),
    )


@pytest.mark.parametrize("restart", ["never", "on-failure", "always", "halt"])
def test_every_policy_of_restarting(tmp_path: Path, restart: str) -> None:
    assert _load(tmp_path, f'{_LEAST}restart = "{restart}"\n').restart == restart


def test_an_isolated_application(tmp_path: Path) -> None:
    assert _load(tmp_path, f'{_LEAST}profile = "isolated"\n').profile == "isolated"


@pytest.mark.parametrize("name", ["a", "a" * 64, "0-9"])
def test_names(tmp_path: Path, name: str) -> None:
    assert _load(tmp_path, _LEAST.replace("worm", name, 1)).name == name


@pytest.mark.parametrize("name", ["", "Worm", "-a", "a-", "a b", "a.b", "a_b", "ä", "a\\n", "a" * 65])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    assert "name" in str(_refused(tmp_path, _LEAST.replace("worm", name, 1)))


@pytest.mark.parametrize("missing", ["name", "version", "entry"])
def test_what_has_to_be_there(tmp_path: Path, missing: str) -> None:
    lines = [line for line in _LEAST.splitlines() if not line.startswith(missing)]
    assert missing in str(_refused(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("source", 'source = "/etc"'),
        ("source", 'source = "../other"'),
        ("source", 'source = "src/../../other"'),
        ("environment", '[environment]\n"A B" = "1"'),
        ("environment", '[environment]\n"1A" = "1"'),
        ("environment", '[environment]\n"" = "1"'),
        ("environment", '[environment]\n"A=B" = "1"'),
        ("environment", '[environment]\nNACRE_SOCKET = "/elsewhere"'),
        ("environment", "[environment]\nA = 1"),
        ("port", "port = 0"),
        ("port", "port = -1"),
        ("port", "port = 65536"),
        ("port", 'port = "80"'),
        ("port", "port = true"),
        ("egress", 'egress = ["example.com"]'),
        ("egress", 'egress = ["example.com:0"]'),
        ("egress", 'egress = ["example.com:65536"]'),
        ("egress", 'egress = ["example.com:080"]'),
        ("egress", 'egress = ["Example.com:443"]'),
        ("egress", 'egress = ["https://example.com:443"]'),
        ("egress", 'egress = ["*.example.com:443"]'),
        ("egress", 'egress = ["example.com:443\\n"]'),
        ("egress", 'egress = [".example.com:443"]'),
        ("egress", f'egress = ["{"a" * 254}:443"]'),
        ("egress", 'egress = "example.com:443"'),
        ("egress", 'profile = "isolated"\negress = ["example.com:443"]'),
        ("restart", 'restart = "sometimes"'),
        ("raw_report_data", "raw_report_data = 1"),
        ("profile", 'profile = "open"'),
        ("memory", "[resources]\nmemory = 1.5"),
        ("resources", "[resources]\nmemory = 0"),
        ("resources", "[resources]\ncpus = 0"),
        ("disk", "[resources]\ndisk = 1"),
        ("ports", "ports = 80"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, key: str, line: str) -> None:
    assert key in str(_refused(tmp_path, f"{_LEAST}{line}\n"))


@pytest.mark.parametrize("entry", ["[]", '[""]', '["python3", ""]', '"python3"', "[1]"])
def test_commands_that_are_none(tmp_path: Path, entry: str) -> None:
    text = _LEAST.replace('["python3", "-m", "worm"]', entry)
    assert "entry" in str(_refused(tmp_path, text))


def test_text_that_is_no_toml(tmp_path: Path) -> None:
    assert _refused(tmp_path, "name = worm").code == "config-syntax"
    assert _refused(tmp_path, _LEAST + 'name = "again"').code == "config-syntax"
    (tmp_path / "nacre.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigurationError) as caught:
        App.load(tmp_path)
    assert caught.value.code == "config-syntax"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nacre.toml", str(tmp_path / "other.toml")):
        with pytest.raises(ConfigurationError) as caught:
            App.load(path)
        assert caught.value.code == "config-unreadable"


@pytest.mark.parametrize(("memory", "machine"), [(1, 512), (512, 512), (513, 513), (4096, 4096)])
def test_a_machine_has_room_to_unpack_its_image(memory: int, machine: int) -> None:
    assert Resources(memory=memory).machine == machine
