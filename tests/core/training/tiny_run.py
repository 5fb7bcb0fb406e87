"""A training run of a few milliseconds a step, also as a script that can be killed.

python tiny_run.py FOLDER STEPS [kill STEP | rank MOST | golden]
"""

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from core.conditioning import Conditioning
from core.families.average_velocity import AverageVelocity
from core.families.flow import FlowMatching
from core.networks.unet import SpatioTemporalUNet
from core.training.trainer import OPTIMIZERS, Plan, Trainer

OBJECTIVE = AverageVelocity(
    jump_share=0.5, pure_noise_share=0.2, land_on_data_share=0.3, guidance_max=4.0
)


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpatioTemporalUNet(
            in_channels=1,
            block_out_channels=(16, 32),
            layers_per_block=1,
            patch_size=(1, 2, 2),
            down_strides=((1, 2, 2),),
            attention_levels=(False, True),
            spatial_attention_levels=(False, True),
            text_channels=8,
            head_dim=16,
        )


def batch(size, generator):
    """Ramps whose slope the prompt names."""
    slope = torch.rand(size, generator=generator) * 2 - 1
    ramp = torch.linspace(-1, 1, 8)
    x = slope.view(-1, 1, 1, 1, 1) * ramp.view(1, 1, 1, 1, 8).expand(size, 1, 2, 8, 8)
    tokens = slope.view(-1, 1, 1).expand(size, 3, 8) * torch.linspace(0.5, 2, 8)
    return x.contiguous(), Conditioning(tokens=tokens)


def plan(steps, **changes):
    settings = {"batch_size": 8, "warmup": 2, "checkpoint_minutes": 0.0, "ema_decay": 0.9}
    return Plan(steps=steps, **(settings | changes))


def trainer(
    folder, steps, *, objective=OBJECTIVE, make_batch=batch, seed=0, watch=None, **changes
):
    settings = plan(steps, **changes)
    return Trainer(network(seed), make_batch, objective, settings, Path(folder), watch=watch)


@dataclass(frozen=True, kw_only=True)
class Hungry(AverageVelocity):
    """Runs out of memory where more than ``most`` rows are computed at a time."""

    most: int

    def loss(self, predict, x, cond, drawn):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return super().loss(predict, x, cond, drawn)


def hungry(most):
    return Hungry(**asdict(OBJECTIVE), most=most)


def golden_losses():
    """Losses and errors of six steps of each objective at seed 0, in float32."""
    import tempfile

    found = {}
    for name, objective in {"flow": FlowMatching(), "jumps": OBJECTIVE}.items():
        with tempfile.TemporaryDirectory() as folder:
            seen = []
            run = trainer(
                folder, 6, objective=objective, mixed_precision="no", checkpoint_minutes=60.0
            )
            run.run(seen.append)
            found[name] = {
                "loss": [round(p.loss, 7) for p in seen],
                "error": [round(p.error, 7) for p in seen],
            }
    return found


def plain_descent(network, plan):
    return torch.optim.SGD(network.parameters(), lr=plan.learning_rate)


def main(folder, steps, mode="", argument="0"):
    torch.set_num_threads(1)

    def on_progress(progress):
        if mode == "kill" and progress.step == int(argument):
            os.kill(os.getpid(), signal.SIGKILL)

    if mode == "rank":  # plain gradient descent, so that the gradient can be read off
        OPTIMIZERS["sgd"] = plain_descent
        rank = int(os.environ["RANK"])
        objective = hungry(int(argument)) if rank and int(argument) else OBJECTIVE
        run = trainer(folder, int(steps), seed=rank, objective=objective, optimizer="sgd",
                      clip=1e9, warmup=0, cooldown=0.0, learning_rate=0.1,
                      mixed_precision="no")  # fmt: skip
        run.run()
        run.accelerator.wait_for_everyone()
        save_file(dict(run.network.state_dict()), Path(folder) / f"rank{rank}.safetensors")
        save_file(run.average.state(), Path(folder) / f"average{rank}.safetensors")
        run.accelerator.end_training()
        return
    trainer(folder, int(steps)).run(on_progress)


if __name__ == "__main__":
    if sys.argv[1] == "golden":
        torch.set_num_threads(1)
        path = Path(__file__).with_name("golden") / "losses.json"
        path.write_text(json.dumps(golden_losses(), indent=1) + "\n")
    else:
        main(*sys.argv[1:])
