# SPDX-License-Identifier: Apache-2.0
"""What the sandbox of a process keeps out, asked from the inside."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nacre.enclave.launch.bubblewrap import sandbox

_BWRAP = shutil.which("bwrap")


@pytest.mark.skipif(_BWRAP is None, reason="bubblewrap is not installed")
def test_inside_has_no_network_no_host_files_and_one_writable_folder(tmp_path: Path) -> None:
    readable, writable = tmp_path / "r", tmp_path / "w"
    readable.mkdir()
    writable.mkdir()
    (readable / "seen").write_text("seen")
    script = (
        f"cat {readable}/seen; cat /etc/shadow && echo BAD; echo x > {readable}/new && echo BAD;"
        f" echo x > {writable}/new; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n'"
    )
    line = sandbox(["/usr/bin/env", "sh", "-c", script], readable=[readable], writable=[writable])
    answer = subprocess.run(line, capture_output=True, text=True, check=False, timeout=20)
    assert answer.stdout == "seenlo", answer.stderr
    assert (writable / "new").read_text() == "x\n"
    assert not (readable / "new").exists()
