"""One more process of a training run: ``python -m flows.training.peer KIND REQUEST``.

It computes its part of every batch and neither reports nor publishes anything.
"""

import logging
import sys

from core.trouble import Trouble
from flows.machines.lifeline import end_with_parent
from flows.requests.refusals import is_refusal
from flows.settings.environment import adopt
from flows.settings.settings import read_settings


def main(kind: str, text: str) -> None:
    """Train beside the first process until it is done."""
    end_with_parent()
    for room in ("core", "medical", "video"):
        logging.getLogger(room).setLevel(logging.ERROR)  # the first process says the rest
    settings = read_settings()
    adopt(settings)
    from flows.requests.flow_requests import TRAININGS
    from flows.training.training import descend

    try:
        descend(TRAININGS[kind].model_validate_json(text), settings, lambda stage, progress: None)
    except (ValueError, Trouble) as error:
        if isinstance(error, ValueError) and not is_refusal(error):
            raise
        sys.exit(1)  # the first process meets the same, and says it


if __name__ == "__main__":
    main(*sys.argv[1:])
