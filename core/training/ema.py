"""A running average of the weights, kept in float32."""

import torch
from torch import Tensor, nn

from core.refusal import Refusal


class WeightAverage:
    """Exponential moving average with a warm-up, so that early weights are soon forgotten.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(network)
    >>> with torch.no_grad():
    ...     _ = network.weight.add_(1.0)
    >>> average.update(network, step=0)
    >>> bool(average.state()["weight"] < network.weight)
    True

    Args:
        network: Whose parameters are followed.
        decay: Weight of the past at each step, reached after the warm-up
            min(decay, (1 + step) / (10 + step)).
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.shadow = {n: p.detach().float().clone() for n, p in network.named_parameters()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network's weights after optimizer step ``step`` (from 0)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        names = list(self.shadow)
        current = dict(network.named_parameters())
        torch._foreach_lerp_(
            [self.shadow[n] for n in names], [current[n].float() for n in names], 1 - keep
        )

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Write the average into ``network``, in its own dtype."""
        for name, parameter in network.named_parameters():
            parameter.copy_(self.shadow[name])

    def state(self) -> dict[str, Tensor]:
        """The averages by name, for a checkpoint."""
        return dict(self.shadow)

    def load(self, state: dict[str, Tensor]) -> None:
        """Take the averages of a checkpoint back."""
        missing = set(self.shadow) ^ set(state)
        if missing:
            raise Refusal(
                f"{sorted(missing)[:3]}: the checkpoint's averages name other weights than the "
                "network has; resume with the preset the checkpoint was made with."
            )
        self.shadow = {
            name: state[name].to(mean.device, torch.float32, copy=True)
            for name, mean in self.shadow.items()
        }
