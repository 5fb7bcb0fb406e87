"""How the MRI model is trained and judged meanwhile."""
