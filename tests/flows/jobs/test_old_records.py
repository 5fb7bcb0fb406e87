"""A restored scan that earlier code and weights made is made again, bit for bit.

``old/restored.nii.gz`` was made on 1 December 2026, in portable numerics, by the weights that
``heads-1mm`` had until then and that are ``heads-1mm-1`` since, of a part of the drawn head in
``docs/examples`` with noise: by ``edition: 4``, which followed noisy scans more closely.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OLD = Path(__file__).with_name("old")


@pytest.mark.parametrize("name", ["restored.nii.gz", "restored_std.nii.gz"])
def test_it_is_made_again_by_the_weights_of_then(tmp_path, name):
    shutil.copytree(OLD, tmp_path / "old")
    record = json.loads((OLD / "restored.json").read_text(encoding="utf-8"))
    assert (record["request"]["model"], record["request"]["edition"]) == ("heads-1mm", 4)
    command = [sys.executable, "-m", "flows.commands.command_line", "reproduce"]
    own = {"LAMINA_HOME": str(tmp_path / "state"), "LAMINA_DEVICE": "cpu"}
    done = subprocess.run(
        [*command, str(tmp_path / "old" / name)],
        env=os.environ | own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical: every bit of the file" in done.stdout
    assert "were called heads-1mm, and are called heads-1mm-1 here" in done.stdout + done.stderr
