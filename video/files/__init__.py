"""Clips as files. The only doors to decord and imageio."""
