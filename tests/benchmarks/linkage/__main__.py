"""Measures of record: ``python -m tests.benchmarks.linkage FOLDER --heads BIDS``.

Draws heads as datasets draw them into a folder, holds them against real people by the listed
attacks and a learned one, and prints a table. Goes on where it was stopped. 120 anatomies take
eight minutes of a core, each finished image (``--images``) half a minute more.
"""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

import torch

from medical.anatomy.head_model import find_pool
from medical.audit.linkage import anatomy, drawings, measure
from medical.audit.sources import RealPeople
from tests.benchmarks.linkage.drawings import again, image, pools_of, real_again, real_people


def main() -> int:
    """Draw what lacks, attack, print."""
    asked = _arguments()
    torch.set_num_threads(1)
    pool = find_pool()
    people = real_people(asked.heads, asked.folder / "people")
    pools = [pool.only(pool_names(pool))] if asked.whole else pools_of(pool)
    told = asked.folder / "again"
    count, draw, kind = asked.drawings, anatomy, "anatomy"
    if asked.images:
        count, draw, kind = asked.images, partial(image, told=told), "image"
        real_again(asked.heads, asked.images, told)
    drawn = list(drawings(pools, count, asked.folder / "drawn", draw=draw, kind=kind))
    never = {seen.name for seen in people} - {person.hash for person in pool.people}
    facts = measure(drawn, RealPeople(people), never)
    facts["pools"] = [len(each.people) for each in pools]
    facts["what"] = "finished images at 1 mm" if asked.images else "anatomies at 2 mm"
    facts |= {"tissues found again, Dice": again(told)} if asked.images else {}
    text = json.dumps(facts, indent=1)
    (asked.folder / f"{'images' if asked.images else 'anatomies'}.json").write_text(text, "utf-8")
    sys.stdout.write(text + os.linesep)
    return 0


def pool_names(pool) -> list[str]:
    """Who of a model may contribute, all in one pool."""
    return [person.hash for part in pools_of(pool) for person in part.people]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.linkage", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="drawings are kept here; run again to go on")
    parser.add_argument("--heads", type=Path, required=True, help="BIDS folder of ds002748")
    parser.add_argument("--drawings", type=int, default=120, help="anatomies at 2 mm")
    parser.add_argument("--images", type=int, default=0, help="finished images in their place")
    parser.add_argument("--whole", action="store_true", help="one pool in place of folds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
