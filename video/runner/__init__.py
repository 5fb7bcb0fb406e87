"""A clip from a sentence by an exported model: no torch, no diffusers, no transformers."""
