"""What every floor shares: network, noise, sampling, operators, tiling, training."""
