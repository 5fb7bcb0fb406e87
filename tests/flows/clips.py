"""Batches of clips so small that a test can make many."""

SMALL = {"num_frames": 4, "height": 32, "width": 32, "steps": 1, "model": "tiny-video"}


def prompts_of(count: int) -> list[str]:
    """So many different prompts, up to 50 of which the text encoder takes."""
    return [f"a red circle moves left {'very ' * n}slowly" for n in range(count)]


def asked(name: str, count: int, **limits) -> dict:
    """The parameters of a run of ``generate_clips``, in a form that JSON holds."""
    patience = {"retry_delay_s": 1.0, "reserve_gb": 0.0, **limits}
    prompts = "\n".join(prompts_of(count))
    return {"request": {"name": name, "prompts": prompts, "limits": patience, **SMALL}}
