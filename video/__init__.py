"""Prompts, clips, captions and the procedural world."""
