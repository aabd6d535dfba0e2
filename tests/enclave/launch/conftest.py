# SPDX-License-Identifier: Apache-2.0
"""Applications and enclaves that last as long as a test."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.enclave.launch.whole import Run, Start

from nacre.enclave.instances import Instances


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    instances = Instances.of_user({"NACRE_STATE_DIR": str(tmp_path / "state")})
    runs = []

    def run(source: Path, *, platform: str = "nitro", how: str = "process", port: int = 0) -> Run:
        runs.append(Run(instances, source, platform=platform, how=how, port=port))
        return runs[-1]

    yield run
    for one in runs:
        if one.process.poll() is None:
            one.end()
        one.reading.close()
        instances.remove(one.made)


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., Path]:
    def write(script: str, **others: object) -> Path:
        folder = tmp_path / "app"
        folder.mkdir()
        (folder / "main.py").write_text(script)
        table = {"name": "app", "version": "1", "entry": ["python3", "main.py"], **others}
        environment = table.pop("environment", None)
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        if isinstance(environment, dict):
            lines += [
                "[environment]",
                *(f"{key} = {json.dumps(value)}" for key, value in environment.items()),
            ]
        (folder / "nacre.toml").write_text("\n".join(lines))
        return folder

    return write
