"""One job from request to record, as Prefect stages, in a shard or by a command."""
