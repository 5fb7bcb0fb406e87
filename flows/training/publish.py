"""Models as flows and commands handle them: named in records, published after training."""

import platform
from pathlib import Path

import torch

from core.models.cards import card
from core.models.checkpoints import find_model, read_record, save_model
from core.models.controls import files_of as control_files
from core.models.controls import taken_off
from core.models.merging import files_of
from core.networks.conditioned import ConditionedNetwork
from core.networks.latents import LatentNetwork
from core.networks.lora import changes, merged
from core.records import compute, model_facts, versions
from core.training.checkpoint import history
from core.training.request import TrainingRequest


def publish(
    folder: Path, network: ConditionedNetwork, request: TrainingRequest, *, run: Path
) -> Path:
    """Save a trained network as a model folder with its record and card.

    Args:
        folder: The model folder; must not exist.
        network: With averaged weights.
        request: What training was asked for.
        run: Folder of the training run, for what its checkpoints say of steps and time.
    """
    asked, kind = request.model_dump(), request.model_kind
    learned, start = changes(network), asked.get("start", "")
    beside = None
    own = request.record()
    if learned:
        base = read_record(find_model(start, kind))
        beside = files_of(learned, rank=asked["lora"], base=start, record=base)
        network = merged(network)
    if beside_it := taken_off(network):
        (branch, part), base = beside_it, read_record(find_model(start, kind))
        shows = asked["control"]
        beside = control_files(branch, shows=shows, base=start, record=base, part=part)
        own["guidance_trained_in"] = base.get("guidance_trained_in", False)  # the base's weights
    facts = {
        "name": folder.name,
        "kind": kind,
        "objective": network.config["trained_objective"].replace("_", " "),
    }
    on_gpu = network.device.type == "cuda"
    hardware = torch.cuda.get_device_name(network.device) if on_gpu else platform.machine()
    begun = {"begun_from": model_facts(read_record(find_model(start, kind)))} if start else {}
    record = {
        **facts,
        **own,
        **({"space": network.space} if isinstance(network, LatentNetwork) else {}),
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "training": {
            "request": asked,
            **begun,
            "stages": history(run),
            "hardware": hardware,
            "compute": compute(),
            "versions": versions(),
        },
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    return save_model(folder, network, record, card=card(record), beside=beside)
