# SPDX-License-Identifier: Apache-2.0
"""The guide to Oyster tells what the command does: its own documents, its own commands, its own output."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

_FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_commands_of_the_guide_answer_as_it_says(repository: Path, tmp_path: Path) -> None:
    blocks = _FENCE.findall((repository / "docs" / "guides" / "verify-an-oyster-app.md").read_text())
    releases = [text for language, meaning, text in blocks if (language, meaning) == ("toml", "release")]
    policies = [text for language, meaning, text in blocks if (language, meaning) == ("toml", "policy")]
    (tmp_path / "release.toml").write_text(releases[-1])
    (tmp_path / "policy.toml").write_text(policies[-1])
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    scripts = [text for language, _, text in blocks if language == "sh" and text.startswith("jq ")]
    assert len(scripts) == 1
    # The program may be missing here; what it makes is this, whatever the blanks.
    (tmp_path / "init-params.json").write_text(
        '{"params": [{"path": "docker-compose.yml", "contents": "c2VydmljZXM6IHt9Cg==",'
        ' "should_attest": true, "should_decrypt": false}]}'
    )
    shown = [text for language, _, text in blocks if language == "console" and "aws_pcr16.bin" in text]
    assert len(shown) == 2
    for text in shown:
        command, _, expected = text.partition("\n")
        words = shlex.split(command.removeprefix("$ nacre "))
        words = [str(repository / word) if word.startswith("tests/") else word for word in words]
        ran = subprocess.run(
            [sys.executable, "-m", "nacre", *words], cwd=tmp_path, capture_output=True, check=False, text=True
        )
        assert ran.returncode == (0 if expected.startswith("VERIFIED") else 10), ran.stderr
        lines = ran.stdout.splitlines()
        assert [line for line in expected.splitlines() if line.strip() != "…" and line not in lines] == []
