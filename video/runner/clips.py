"""A clip from a sentence by an exported model, in numpy around four compiled graphs.

The way is that of ``video.engines.own``: read the prompt, lay it out, walk the noise down.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.records import atomic_path, check_target, sha256_file
from core.refusal import Refusal
from core.runner.command import check_bounds, ended
from core.runner.graphs import Graphs, bucket, cache_folder
from core.runner.noise import noise
from core.runner.walks import Denoise, dpmpp_2m, flow_map, shifted
from video.files.clip import Clip
from video.files.formats import refuse_ending, refuse_rate, write_clip
from video.runner.layouts import apart, painting_scale, sketch
from video.runner.words import tokenizer_of
from video.world.understanding import Understanding, check_servable, understand

Floats = NDArray[np.float32]
BOUNDS = {"steps": (1, 128), "guidance": (1, 8), "fps": (0.1, 120), "seed": (0, 2**63 - 1)}


@dataclass(frozen=True)
class Wish:
    """What is asked of an exported model; as the fields of a request are called."""

    prompt: str
    seed: int = 0
    steps: int = 4
    guidance: float = 2.0
    fps: float = 8.0


@dataclass(frozen=True)
class Words:
    """A prompt as the network reads it: states (1, L, E), and 1 where there is a token (1, L)."""

    states: Floats
    real: Floats


class ClipRunner:
    """An exported video model.

    Args:
        folder: That ``lamina export`` wrote.
        cache: Where compiled graphs are kept; None for nowhere.
    """

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.graphs = Graphs(folder, "video", cache)
        self.record = self.graphs.record
        self.facts: dict[str, Any] = self.record["sampling"]
        self.tokenizer = tokenizer_of(folder / "tokenizer.json")

    def read(self, prompt: str) -> Understanding:
        """The prompt corrected, where the model knows the procedural world alone.

        Raises:
            Refusal: It asks for what the model cannot show.
        """
        found = understand(prompt)
        if self.facts["world"]:
            try:
                check_servable(found, self.record["name"])
            except Refusal as refusal:
                told = str(refusal).replace("`lamina ", "where Lamina is installed, `lamina ")
                raise Refusal(told) from refusal
        return found

    def draw(self, wish: Wish) -> Clip:
        """The clip's frames."""
        words = self._words(wish.prompt)
        start = noise((3, *self.facts["size"]), wish.seed)
        levels = shifted(wish.steps, self.facts["shift"])
        x = flow_map(self._painting(wish, words, start), start, levels)
        pixels = np.rint((x[0].clip(-1, 1) + 1) * 127.5).astype(np.uint8)
        rate = float(Fraction(wish.fps).limit_denominator(1001))
        return Clip(np.ascontiguousarray(pixels.transpose(1, 2, 3, 0)), rate)

    def _words(self, prompt: str) -> Words:
        ids = self.tokenizer.encode(prompt).ids
        most = self.facts["most_tokens"]
        if len(ids) > most:
            raise Refusal(
                f"prompt {prompt[:40]!r}... has {len(ids)} tokens: the encoder takes at most "
                f"{most} (about 50 words); shorten it."
            )
        length = bucket(len(ids))
        numbers = np.zeros((1, length), dtype=np.int64)
        numbers[0, : len(ids)] = ids
        real = np.zeros((1, length), dtype=np.float32)
        real[0, : len(ids)] = 1
        asked = {"ids": numbers, "real": real}
        return Words(self.graphs.run("reader", asked, tokens=length), real)

    def _painting(self, wish: Wish, words: Words, start: Floats) -> Denoise:
        """The guided network, as ``video.engines.own.painting`` makes it."""
        scale, drawn = wish.guidance, None
        if self.facts["layouts"]:
            drawn = self._sketch(wish, words, start)
            scale = painting_scale(scale, self.facts["painting_guidance"], wish.steps)
        seconds = np.array([[1 / wish.fps, 1.0, 1.0]] * 2, dtype=np.float32)
        told: dict[str, NDArray[Any]] = _both(words) | {"spacing": seconds}
        if drawn is not None:
            shown = np.array([1.0, 0.0], dtype=np.float32)
            told |= {"sketch": np.concatenate([drawn, drawn]), "shown": shown}
        return self._guided("painter", told, scale)

    def _guided(self, name: str, told: dict[str, NDArray[Any]], scale: float) -> Denoise:
        """With and without the prompt at once, and further than with it."""
        lands, tokens = self.facts["landings"] and name == "painter", told["tokens"].shape[1]

        def denoise(z: Floats, t: float, r: float) -> Floats:
            level = np.full(2, t, dtype=np.float32)
            landing = np.full(2, r, dtype=np.float32) if lands else level
            asked = told | {"z": np.concatenate([z, z]), "t": level, "r": landing}
            velocity = self.graphs.run(name, asked, tokens=tokens)
            with_prompt, without = z - level[0] * velocity[:1], z - level[0] * velocity[1:]
            return (without + np.float32(scale) * (with_prompt - without)).astype(np.float32)

        return denoise

    def _sketch(self, wish: Wish, words: Words, start: Floats) -> Floats:
        """A layout whose things keep apart, and its sketch."""
        facts = self.facts["layouts"]
        shape = facts["tries"], *facts["shape"]
        starts = start.reshape(-1)[: prod(shape)].reshape(facts["tries"], 1, *facts["shape"])
        denoise = self._guided("layouts", dict(_both(words)), wish.guidance)
        found: Floats | None = None
        for noisy in starts:
            found = dpmpp_2m(denoise, noisy, shifted(facts["steps"], 1.0))
            if apart(found) >= facts["apart"]:
                break
        assert found is not None
        return sketch(found)


def _both(words: Words) -> dict[str, NDArray[Any]]:
    """The prompt, and none, as two rows."""
    states, real = words.states, words.real
    return {
        "tokens": np.concatenate([states, states]),
        "token_mask": np.concatenate([real, np.zeros_like(real)]),
    }


def make(
    folder: Path,
    wish: Wish,
    target: Path,
    *,
    overwrite: bool = False,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Write a clip, verified, and its record beside it; the record.

    Raises:
        Refusal: Something cannot be made as asked.
    """
    began = time.perf_counter()
    refuse_ending(target.name)
    beside = target.with_suffix(".json")
    for path in (target, beside):
        check_target(path, overwrite=overwrite)
    runner = ClipRunner(folder, cache)
    frames, height, width = runner.facts["size"]
    refuse_rate(target.name, wish.fps, frames)
    found = runner.read(wish.prompt)
    wish = Wish(**{**vars(wish), "prompt": found.prompt if runner.facts["world"] else wish.prompt})
    ready = time.perf_counter()
    clip = runner.draw(wish)
    drawn = time.perf_counter()
    tag = {"prompt": wish.prompt, "seed": wish.seed, "model": runner.record["name"],
           "steps": wish.steps, "sampler": "flow_map", "guidance": wish.guidance}  # fmt: skip
    write_clip(clip, target, metadata=tag, overwrite=overwrite)
    record = {
        "format_version": 1,
        "task": "text_to_video",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_by": "runner",
        "request": {
            **vars(wish),
            "num_frames": frames,
            "height": height,
            "width": width,
            "model": runner.record["name"],
        },
        "seeds": wish.seed,
        "reading": found.facts() if runner.facts["world"] else {},
        "model": {
            **{key: runner.record[key] for key in ("name", "kind", "weights", "source_sha256")},
            "export": runner.record["digest"],
        },
        "outputs": {"video": {"file": target.name, "sha256": sha256_file(target)}},
        "timings_s": {
            "load": round(ready - began, 3),
            "draw": round(drawn - ready, 3),
            "total": round(time.perf_counter() - began, 3),
        },
        "versions": runner.graphs.versions("tokenizers", "imageio"),
    }
    with atomic_path(beside, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return record


def main(folder: Path, words: Sequence[str]) -> int:
    """Make one clip as the command line says; the exit code, as that of ``lamina``."""
    usual = Wish("")
    reader = argparse.ArgumentParser(prog="run.py", description="A clip from a sentence.")
    reader.add_argument("prompt")
    reader.add_argument("target", type=Path, help="such as clip.mp4; .webm, .gif and .webp too")
    reader.add_argument("--seed", type=int, default=usual.seed)
    reader.add_argument("--steps", type=int, default=usual.steps)
    reader.add_argument("--guidance", type=float, default=usual.guidance)
    reader.add_argument("--fps", type=float, default=usual.fps)
    reader.add_argument("--overwrite", action="store_true")
    reader.add_argument(
        "--cache", help="folder for compiled graphs, so that the next start is quick; off for none"
    )
    said = vars(reader.parse_args(words))
    target, overwrite, cache = (said.pop(name) for name in ("target", "overwrite", "cache"))

    def work() -> Iterator[str]:
        check_bounds(said, BOUNDS)
        kept = cache_folder(folder, cache)
        record = make(folder, Wish(**said), target, overwrite=overwrite, cache=kept)
        for line in record["reading"].get("read_as", []):
            yield f"read as: {line}"
        yield str(target)

    return ended(work)
