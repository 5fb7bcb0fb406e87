"""A finer head by an exported model: no torch, no diffusers, no transformers, no MONAI."""
