"""Hundreds of clips under random kills; ``endurance.py`` does the same with thousands."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

logger = logging.getLogger(__name__)
SCRIPT = Path(__file__).with_name("endurance.py")
ITEMS, KILL_EVERY_S = 800, 10


@pytest.mark.timeout(3000)
def test_under_random_kills_each_item_is_made_exactly_once(database):
    words = [str(ITEMS), "--kill-every", str(KILL_EVERY_S), "--limit", "2400"]
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        capture_output=True, text=True, check=False, env={**os.environ, **database()},
    )  # fmt: skip
    assert answer.stdout, answer.stderr[-2000:]
    figures = json.loads(answer.stdout)
    logger.info("%s", figures)
    assert not figures["faults"]
    assert answer.returncode == 0
