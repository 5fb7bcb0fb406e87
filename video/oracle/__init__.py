"""Reads clips of the procedural world back, and says whether they show what was asked."""
