"""Lines that outlive a crash."""

import subprocess
import sys

from core.storage.journal import append_line, read_lines

NEARLY_FULL = """
import resource, signal, sys
from pathlib import Path
from core.storage.journal import append_line
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
for n in range(2):
    append_line(Path(sys.argv[1]), {"n": n, "filler": "x" * 60})
"""


def test_a_line_that_did_not_fit_is_no_line_and_its_writer_learns_it(tmp_path):
    path = tmp_path / "0000.jsonl"
    words = [sys.executable, "-c", NEARLY_FULL, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "OSError: [Errno 27]" in done.stderr
    assert path.stat().st_size == 100  # a part of it stands
    append_line(path, {"n": 2})
    assert [line["n"] for line in read_lines(path)] == [0, 2]
