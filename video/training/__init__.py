"""How the video model is trained and judged meanwhile."""
