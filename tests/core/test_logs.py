"""The library keeps silent until someone listens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

READ = """
import logging, sys
from clin_edge.core.notes import read_notes
list(read_notes([sys.argv[1]]))
logging.basicConfig(format="%(name)s: %(message)s")
list(read_notes([sys.argv[1]]))
"""


def test_warnings_reach_stderr_only_once_logging_is_set_up(tmp_path: Path) -> None:
    note = tmp_path / "a.txt"
    note.write_bytes(b"\xef\xbb\xbfZebulon")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(note)], capture_output=True, text=True, check=True
    )
    expected = f"clin_edge: {note}: dropped the byte-order mark at its start\n"
    assert (done.stdout, done.stderr) == ("", expected)
