"""``lamina export``: a model as a folder that runs without torch."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from core.refusal import Refusal

Stored = Literal["float16", "float32", "int8"]


def export(
    model: str,
    out: Path,
    /,
    *,
    weights: Annotated[Stored, Parameter(negative="")] = "float16",
    frames: int = 16,
    height: int = 64,
    width: int = 64,
) -> None:
    """Write a model as a folder that makes results without torch: `python OUT/run.py`.

    The folder holds OpenVINO graphs, the tokenizer, the code that runs them, and a record.

    Args:
        model: Its name, as `lamina models list` shows it, or a model folder with a slash.
        out: The folder to write; it must not exist.
        weights: How weights are stored. int8 is smallest, and loses a little.
        frames: Of every clip it will make.
        height: Of every clip, in pixels.
        width: Of every clip, in pixels.
    """
    import torch

    from core.backends.artefact import write_artefact
    from core.models.checkpoints import find_folder, load_model
    from core.models.files import read_record
    from video.engines.export import check_size, exported

    check_size(frames, height, width)
    folder = find_folder(model)
    record = read_record(folder)
    if record["kind"] != "video":
        raise Refusal(
            f"model {model} is of kind {record['kind']}: models of kind video are exported; name "
            "one of those."
        )
    network, record = load_model(folder, dtype=torch.float32)
    size = (frames, height, width)
    print(write_artefact(out, record, weights, lambda: exported(network, record, size)))
