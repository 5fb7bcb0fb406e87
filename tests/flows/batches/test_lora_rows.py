"""A LoRA file with our own model: one clip, the same again, and rows of a batch."""

import json

import pytest
import torch
from clips import SMALL
from safetensors import safe_open
from safetensors.torch import save_file

from core.models.adapters import ADAPTER
from core.models.checkpoints import find_model, load_model
from core.models.files import read_record
from core.models.merging import files_of
from core.networks.lora import changes, with_lora
from core.seeds import generator
from flows.batches import shard as shard_module
from flows.batches.items import items_of
from flows.batches.ledger import Batch
from flows.batches.start import plan_batch, start_batch
from flows.commands.command_line import main
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.settings.settings import read_settings

pytestmark = pytest.mark.usefixtures("encoder_read_once")


@pytest.fixture
def adapter(places):
    """An adapter of the tiny model that has learned something, whatever it is."""
    folder = find_model(SMALL["model"], "video")
    network, _ = load_model(folder, dtype=torch.float32)
    with_lora(network, 2, seed=4, alpha=2.0)
    dice = generator(5)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=dice))
    found = changes(network)
    record = read_record(folder)
    for name, data in files_of(found, rank=2, base=SMALL["model"], record=record).items():
        (places / name).write_bytes(data)
    return places / ADAPTER


def test_rows_take_in_a_lora_each_as_a_single_clip_does_and_are_made_again(
    places, adapter, capsys
):
    lora = {"lora": str(adapter)}
    rows = [{}, lora, {**lora, "lora_scale": 0.5}, lora | {"prompt": "a blue square"}]
    file = places / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": "a red circle", **row}) + "\n" for row in rows))
    request = ClipBatchRequest(name="loras", prompt_file=str(file), **SMALL)
    batch = Batch.named(read_settings(), "default", request.name)
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    shards = sorted({shard for _, shard in [*batch.items()]})
    for shard in shards:
        asked = ShardRequest(batch=batch.root.name, shard=shard)
        shard_module.run_shard(read_settings(), asked, lambda done, total, note="": None)
    clips = [batch.results / f"{item.stem}.mp4" for item, _ in batch.items()]
    assert len({clip.read_bytes() for clip in clips}) == len(rows)
    by_scale = {
        (item.request.prompt, bool(item.request.lora), item.request.lora_scale): clip
        for (item, _), clip in zip(batch.items(), clips, strict=True)
    }

    half, alone = by_scale["a red circle", True, 0.5], places / "alone.mp4"
    seed = json.loads(half.with_suffix(".json").read_text())["request"]["seed"]
    small = ["--num-frames", "4", "--height", "32", "--width", "32", "--steps", "1"]
    given = [*small, "--model", "tiny-video", "--seed", str(seed), "--lora", str(adapter)]
    command = ["video", "generate", "a red circle", str(alone), *given, "--lora-scale", "0.5"]
    assert main(command) == 0
    assert alone.read_bytes() == half.read_bytes()
    for clip in (alone, half):
        capsys.readouterr()
        assert main(["reproduce", str(clip)]) == 0
        assert "identical: every bit" in capsys.readouterr().out

    record = alone.with_suffix(".json").rename(places / "kept.json")
    assert main(["reproduce", str(alone)]) == 2
    assert "was drawn with lora=" in capsys.readouterr().err
    record.rename(alone.with_suffix(".json"))

    adapter.rename(places / "away.safetensors")
    assert main(["reproduce", str(alone)]) == 2
    assert "is not where it was" in capsys.readouterr().err


def test_an_adapter_whose_alpha_was_changed_beside_it_makes_nothing_again(places, adapter, capsys):
    with safe_open(adapter, "pt") as file:
        save_file({name: file.get_tensor(name) for name in file.keys()}, adapter)  # noqa: SIM118
    settings = adapter.with_name("adapter_config.json")
    settings.write_text('{"r": 2, "lora_alpha": 2}')
    clip = places / "clip.mp4"
    small = ["--num-frames", "4", "--height", "32", "--width", "32", "--steps", "1"]
    given = [*small, "--model", "tiny-video", "--seed", "3", "--lora", str(adapter)]
    assert main(["video", "generate", "a red circle", str(clip), *given]) == 0
    record = json.loads(clip.with_suffix(".json").read_text())
    assert record["model"]["lora"]["alpha"] == 2.0
    settings.write_text('{"lora_alpha": 64, "r": 2}')
    capsys.readouterr()
    assert main(["reproduce", str(clip)]) == 2
    assert "settings say 64.0, and clip.mp4 was made with 2.0" in capsys.readouterr().err
    settings.write_text('{"lora_alpha": 2.0}')  # otherwise written
    assert main(["reproduce", str(clip)]) == 0
    assert "identical: every bit" in capsys.readouterr().out
    del record["model"]["lora"]
    clip.with_suffix(".json").write_text(json.dumps(record))
    assert main(["reproduce", str(clip)]) == 0
    assert "does not say which alpha" in "".join(capsys.readouterr())
