"""The networks, by the name that ``config.json`` keeps of the class.

To add one, write a file with a class like ``SpatioTemporalUNet`` and add its line here. It is
called as that one is: ``read(cond, batch)`` makes of a prompt what all steps share,
``network(z, t, r, cond, memory=...)`` answers, and its config says by ``trained_objective`` in
which family it was taught. Families, samplers, model folders and cards then take it as they are.
"""

from typing import Any

from core.networks.dit import SpatioTemporalDiT
from core.networks.latents import LatentNetwork
from core.networks.network import Network
from core.networks.unet import SpatioTemporalUNet

NETWORKS: dict[str, type[Network]] = {
    "SpatioTemporalUNet": SpatioTemporalUNet,
    "SpatioTemporalDiT": SpatioTemporalDiT,
    "LatentNetwork": LatentNetwork,
}


def network_of(config: dict[str, Any]) -> Network:
    """A network of the shape that a config describes, with random weights.

    Raises:
        ValueError: Its class is none of ours, or has no such shape.
    """
    name = config.get("_class_name", SpatioTemporalUNet.__name__)
    if name not in NETWORKS:
        raise ValueError(f"no network is called {name}; there are {', '.join(NETWORKS)}")
    network = NETWORKS[name].from_config(config)
    assert isinstance(network, NETWORKS[name])
    return network
