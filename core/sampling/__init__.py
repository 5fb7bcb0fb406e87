"""From noise to data: the path, levels, samplers, guidance, and the bridge to diffusers."""
