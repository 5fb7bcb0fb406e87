"""A network that works on the latents of an autoencoder, and the way back out of them.

Families, samplers and the trainer see a network like any other, whose samples happen to be
latents. Whoever draws asks ``noise_shape`` where to begin, and ``pixels`` for what was drawn.
Rombach et al. 2022 (latent diffusion).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from core.conditioning import Conditioning
from core.networks.autoencoder import Autoencoder
from core.networks.conditioned import ConditionedNetwork
from core.networks.network import keeps_settings
from core.networks.text_memory import TextMemory
from core.tensors import Regridded, Volumes


class LatentNetwork(ConditionedNetwork):
    """An autoencoder, and beside it the network that works on its latents.

    >>> import torch
    >>> network = {"_class_name": "SpatioTemporalUNet", "in_channels": 4, "prediction": "sample"}
    >>> both = LatentNetwork(network, {"in_channels": 1, "latent_channels": 4}).eval()
    >>> shape = both.noise_shape((1, 8, 8, 8))
    >>> shape, both.pixels(torch.zeros(1, *shape), (8, 8, 8)).shape
    ((4, 2, 2, 2), torch.Size([1, 1, 8, 8, 8]))

    Args:
        network: Settings of the one on latents, its ``_class_name`` among them.
        autoencoder: Settings of an ``Autoencoder``.
        trained_objective: Family by which ``network`` was taught.
        prediction: Of its last layer.
    """

    space = "latents"

    @keeps_settings
    def __init__(
        self,
        network: dict[str, Any],
        autoencoder: dict[str, Any],
        trained_objective: str = "flow_matching",
        prediction: str = "sample",
    ) -> None:
        from core.networks.table import network_of  # which names this class, too

        super().__init__()
        shared = {"trained_objective": trained_objective, "prediction": prediction}
        self.network = cast("ConditionedNetwork", network_of({**network, **shared}))
        self.autoencoder = Autoencoder.from_config(autoencoder)
        self.layouts = None
        steps = zip(self.autoencoder.cell, self.network.cell, strict=True)
        d, h, w = (fine * coarse for fine, coarse in steps)
        self.cell, self.readers = (d, h, w), self.network.readers

    def noise_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(C', D', H', W') of the latents that a sample (C, D, H, W) is drawn from."""
        return self.autoencoder.latent_shape(shape)

    def pixels(self, z: Volumes, size: Sequence[int]) -> Regridded:
        """(B, C', D', H', W') latents -> (B, C, D, H, W), float32, of the sample's size."""
        d, h, w = size
        return self.autoencoder.decode(z)[:, :, :d, :h, :w].float()

    def read(self, cond: Conditioning, batch: int) -> TextMemory | None:
        """What all steps share of a prompt; see ``ConditionedNetwork``."""
        return self.network.read(cond, batch)

    def spacing_of(self, cond: Conditioning) -> Tensor:
        """(B or 1, 3) spacing of voxels, not of latents, along D, H, W."""
        return self.network.spacing_of(cond)

    def answer(
        self, x: Regridded, emb: Tensor, cond: Conditioning, memory: TextMemory | None
    ) -> Volumes:
        """What the last layer says; see ``ConditionedNetwork``."""
        return self.network.answer(x, emb, cond, memory)

    def forward(
        self,
        z: Volumes,
        t: Tensor,
        r: Tensor | None = None,
        cond: Conditioning | None = None,
        memory: TextMemory | None = None,
    ) -> Volumes:
        """Average velocity of latents; see ``ConditionedNetwork``."""
        return self.network(z, t, r, cond, memory)
