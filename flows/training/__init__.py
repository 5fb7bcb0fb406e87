"""Training runs: launch, stages, page and needs."""
