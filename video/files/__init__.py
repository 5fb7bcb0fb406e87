"""Clips as files. The only doors to decord, imageio and PyAV."""
