"""Networks that denoise, and the blocks they are made of."""
