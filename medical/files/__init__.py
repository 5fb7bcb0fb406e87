"""Volumes as files. The only door to nibabel."""
