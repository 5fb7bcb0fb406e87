"""NIfTI volumes, acquisition physics and super-resolution."""
