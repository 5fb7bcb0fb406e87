"""Training: plan, steps, checkpoints, faults, and what is seen of them."""
