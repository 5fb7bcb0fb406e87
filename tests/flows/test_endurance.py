"""Hundreds of clips under random kills; ``endurance.py`` does the same with thousands."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

logger = logging.getLogger(__name__)
SCRIPT = Path(__file__).with_name("endurance.py")
ITEMS, KILL_EVERY_S = 800, 10
MOST_DATABASE_MB = 60.0
GROWTH = 1.25  # of the coordinator's memory, from a tenth of the items to all


@pytest.mark.timeout(1800)
def test_under_random_kills_each_item_is_made_exactly_once():
    words = [str(ITEMS), "--kill-every", str(KILL_EVERY_S), "--limit", "1200"]
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )
    assert answer.stdout, answer.stderr[-2000:]
    figures = json.loads(answer.stdout)
    logger.info("%s", figures)
    wanted = dict.fromkeys(("items", "whole", "clips", "made_once"), ITEMS)
    assert figures | wanted | {"state": "finished", "leftovers": 0} == figures
    assert answer.returncode == 0
    assert figures["kills"]
    assert figures["database_mb"] < MOST_DATABASE_MB
    if before := figures["coordinator_mb_at_10_percent"]:
        assert figures["coordinator_mb_at_end"] < GROWTH * before
