# SPDX-License-Identifier: Apache-2.0
"""Other verifiers behind the hermetic contract: any command that reads a request and writes an answer."""

import shlex
import shutil
import subprocess

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.testing.hermetic import encode_request, read_answer
from nacre.testing.judging import Ending, Judged
from nacre.testing.questions import Question

__all__ = ["Peer"]

_ANSWERED = (Ending.ACCEPT, Ending.REJECT, Ending.UNSUPPORTED, Ending.MALFORMED)


class Peer:
    """A command that is asked one question at a time, each time anew."""

    def __init__(self, command: str, *, seconds: float = 60) -> None:
        """Look for the command.

        Args:
            command: Program and arguments, in one line as a shell would split it; no shell runs it.
            seconds: How long it may think about one question.

        Raises:
            ConfigurationError: ``peer-missing``.
        """
        try:
            self._words = shlex.split(command)
        except ValueError:
            self._words = []
        if not self._words or shutil.which(self._words[0]) is None:
            raise ConfigurationError("peer-missing", actual=command)
        self._seconds = seconds

    def __call__(self, question: Question) -> Judged:
        """Ask it.

        Raises:
            MalformedEvidence: It gives no answer of the contract, none in time, or its exit status says
                something else than its answer.
        """
        try:
            ran = subprocess.run(  # noqa: S603 (the command is the caller's own)
                self._words,
                input=encode_request(question),
                capture_output=True,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MalformedEvidence("peer-slow", expected=f"{self._seconds:g}") from None
        except OSError as error:
            raise MalformedEvidence("peer-ended", actual=str(error.strerror), expected=_statuses()) from None
        if ran.returncode not in _ANSWERED:
            raise MalformedEvidence("peer-ended", actual=str(ran.returncode), expected=_statuses())
        answer, ending = read_answer(ran.stdout), Ending(ran.returncode)
        if (answer.verdict == "pass") is not (ending is Ending.ACCEPT):
            raise MalformedEvidence("peer-contradiction", actual=ending.value, verdict=answer.verdict)
        code = answer.code if isinstance(answer.code, str) else ""
        return Judged(answer=answer, ending=ending, declined=ending is Ending.UNSUPPORTED, why=code)


def _statuses() -> tuple[str, ...]:
    return tuple(str(ending.value) for ending in _ANSWERED)
