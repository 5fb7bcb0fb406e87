"""Many items as one job: items, plan, ledger, coordinator, shards, approval."""
