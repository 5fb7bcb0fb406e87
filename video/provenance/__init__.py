"""Where clips come from: signed manifests, and what a file says of its maker."""
