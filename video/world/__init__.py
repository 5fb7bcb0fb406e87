"""The procedural world: scenes, their motion, pictures and captions."""
