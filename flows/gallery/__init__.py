"""The gallery: pages over what the flows wrote, read from records and manifests alone."""
