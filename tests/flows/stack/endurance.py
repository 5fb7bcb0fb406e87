"""Makes many tiny clips on two workers while something is killed every 20 seconds.

On a machine so slow that nothing was made in 20 seconds, the next kill waits until something was.

``python tests/flows/stack/endurance.py 10000`` prints figures as JSON and what is wrong with them,
and ends with 1 unless each item is there exactly once and whole, the coordinator's memory stayed
flat and the server's database small. The database is SQLite unless variables say else.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import psutil
import torch

from core.models.checkpoints import save_model
from core.storage.journal import read_lines
from flows.batches.ledger import Batch, intact
from flows.machines.hosts import jobs
from flows.stack.api import Server
from video.training.presets import tiny

START_S = 400.0
NAME = "endurance"
LOOK_EVERY_S = 1.0
SPARED_S = 150.0  # between two kills of what `lamina up` mends, which gives up on five in 600 s
GROWTH = 1.25  # most memory of any coordinator from then on, of that at a tenth of the items
DATABASE_MB = 60.0
KINDS = {"shard": 6, "worker": 1, "server": 1, "coordinator": 1}  # and how often
CLIP = {"num_frames": 2, "height": 16, "width": 16, "steps": 1, "model": "tiny-video"}
LIMITS = {
    "shard_minutes": 0.5,
    "shards_at_once": 4,
    "tries": 20,
    "retry_delay_s": 1.0,
    "reserve_gb": 0.1,
}


@contextmanager
def stack(folder: Path):
    """``lamina up`` with two pretended GPUs: its process and its server."""
    torch.manual_seed(0)
    record = {"name": "tiny-video", "kind": "video", "objective": "average velocity"}
    save_model(folder / "models" / "tiny-video", tiny(), record | {"guidance_trained_in": True})
    environment = os.environ | {
        "LAMINA_HOME": str(folder / "state"),
        "LAMINA_OUTPUTS": str(folder / "outputs"),
        "LAMINA_MODELS": str(folder / "models"),
        "LAMINA_DEVICE": "cpu",
        "LAMINA_GPUS": "2",
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.commands.command_line", "up"],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    state, deadline = folder / "state" / "stack.json", time.monotonic() + START_S
    try:
        while not state.exists():
            assert process.poll() is None, (folder / "up.log").read_text()
            assert time.monotonic() < deadline, "the stack took too long"
            time.sleep(0.2)
        yield process, Server(json.loads(state.read_text())["address"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(START_S)


class Endurance:
    """One batch from its start to its end, and what is killed meanwhile."""

    def __init__(self, folder, process, server, items, seed):
        self.folder, self.process, self.server, self.items = folder, process, server, items
        self.random = Random(seed)
        self.batch = Batch(folder / "outputs" / "default" / "batches" / NAME)
        self.killed: Counter[str] = Counter()
        self.memory: list[tuple[float, float]] = []  # part done, MB of the coordinator
        self.spared_until, self.begun, self.done, self.done_then = 0.0, 0, 0, 0

    def request(self):
        path = self.folder / "prompts.csv"
        rows = [f"a red circle moves left,{number}" for number in range(self.items)]
        path.write_text("\n".join(["prompt,seed", *rows]))
        return {"name": NAME, "prompt_file": str(path), "limits": LIMITS, **CLIP}

    def begin(self):
        self.begun += 1
        self.run = self.server.start("generate_clips", {"request": self.request()})

    def see_through(self, kill_every_s, limit_s):
        """Begin, kill, begin again what was killed, until the batch is finished."""
        self.begin()
        over, next_kill = time.monotonic() + limit_s, time.monotonic() + kill_every_s
        while time.monotonic() < over:
            self.look()
            if self.server.healthy() and self.server.read(self.run).ended:
                if self.batch.exists() and self.batch.state() == "finished":
                    return
                self.begin()
            if time.monotonic() > next_kill and self.done > self.done_then:
                self.kill()  # where runs start slowly, something is made between two kills
                self.done_then, next_kill = self.done, time.monotonic() + kill_every_s
            time.sleep(LOOK_EVERY_S)

    def engines(self, deployed):
        """The engines of the coordinator, or of shards."""
        found = []
        for job in jobs(f"{self.server.address}/api"):
            if (job.run == self.run.id) == (deployed == "coordinator"):
                found += [p for p in job.processes if "prefect.engine" in " ".join(p.cmdline())]
        return found

    def look(self):
        files = (self.batch.root / "shards").glob("*.jsonl")
        self.done = sum(path.read_bytes().count(b"\n") for path in files)
        try:
            for process in self.engines("coordinator"):
                megabytes = process.memory_info().rss / 1e6
                self.memory.append((self.done / self.items, megabytes))
        except psutil.Error:
            return

    def kill(self):
        kinds = list(KINDS)
        (kind,) = self.random.choices(kinds, [KINDS[k] for k in kinds])
        if kind in ("worker", "server"):
            if time.monotonic() < self.spared_until:
                kind = "shard"
            else:
                self.spared_until = time.monotonic() + SPARED_S
        try:
            if victims := self.victims(kind):
                self.random.choice(victims).kill()
                self.killed[kind] += 1
        except psutil.Error:
            return

    def victims(self, kind):
        if kind in ("shard", "coordinator"):
            return self.engines(kind)
        words = (
            "flows.stack.server" if kind == "server" else 'flows.machines.worker {"pool": "gpu"'
        )
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if words in " ".join(child.cmdline())]

    def figures(self, seconds):
        """What it took, and whether each item is there once and whole."""
        items = [item for item, _ in self.batch.items()]
        lines = [x for p in (self.batch.root / "shards").glob("*.jsonl") for x in read_lines(p)]
        made = Counter(line["item"] for line in lines if line["state"] == "made")
        whole = sum(intact(self.batch, item) is not None for item in items)
        clips = len(list(self.batch.results.glob("*.mp4")))
        later = [mb for part, mb in self.memory if 0.1 <= part < 1]
        return {
            "items": len(items),
            "whole": whole,
            "clips": clips,
            "made_once": sum(count == 1 for count in made.values()),
            "failed_lines": sum(line["state"] == "failed" for line in lines),
            "leftovers": len(list(self.batch.results.glob(".part-*"))),
            "state": self.batch.state(),
            "shards": self.batch.read()["shards"],
            "kills": dict(self.killed),
            "begun": self.begun,
            "seconds": round(seconds, 1),
            "coordinator_mb_at_10_percent": round(later[0], 1) if later else None,
            "coordinator_mb_most_later": round(max(later), 1) if later else None,
            "coordinator_mb_most": round(max((mb for _, mb in self.memory), default=0.0), 1),
            "database_mb": round(database_bytes(self.folder) / 1e6, 1),
        }


def database_bytes(folder):
    """How large the server's database is, wherever it stands."""
    url = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    if not url:
        files = (folder / "state" / "prefect").glob("prefect.db*")
        return sum(path.stat().st_size for path in files)

    async def asked():
        import asyncpg

        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval("select pg_database_size(current_database())")
        finally:
            await connection.close()

    return asyncio.run(asked())


def faults(figures, items):
    """What is wrong with the figures, in words; nothing if all is well."""
    found = [
        f"{name} is {figures[name]}, not {items}"
        for name in ("items", "whole", "clips", "made_once")
        if figures[name] != items
    ]
    if figures["state"] != "finished" or figures["leftovers"]:
        found.append(f"it ended {figures['state']} with {figures['leftovers']} leftovers")
    before, after = (figures[f"coordinator_mb_{when}"] for when in ("at_10_percent", "most_later"))
    if not before or after > GROWTH * before:
        found.append(f"the coordinator grew from {before} to {after} MB")
    if figures["database_mb"] > DATABASE_MB:
        found.append(f"the database holds {figures['database_mb']} MB, over {DATABASE_MB:.0f}")
    if not figures["kills"]:
        found.append("nothing was killed")
    return found


def endure(folder, items, kill_every_s, seed, limit_s):
    """The figures of one batch of ``items`` clips in a folder of its own."""
    with stack(folder) as (process, server):
        endurance = Endurance(folder, process, server, items, seed)
        start = time.monotonic()
        endurance.see_through(kill_every_s, limit_s)
        return endurance.figures(time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", type=int)
    parser.add_argument("--kill-every", type=float, default=20.0, help="seconds; 20 by default")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed")
    parser.add_argument("--limit", type=float, default=3600.0, help="give up after these seconds")
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        found = endure(Path(name), asked.items, asked.kill_every, asked.seed, asked.limit)
    found["faults"] = faults(found, asked.items)
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
