"""The folders that a server or a worker writes to."""

import errno
from tempfile import TemporaryFile

from core.refusal import Refusal
from flows.settings.settings import Settings

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)  # what a person is not let do there
PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # what a disk recovers from


def make_places(settings: Settings) -> None:
    """Make the folders that a server or a worker writes to.

    Raises:
        Refusal: One cannot be made or written to.
    """
    for folder in (settings.logs, settings.work, settings.outputs):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError as error:
            if error.errno in PASSING:
                raise
            raise Refusal(
                f"{folder} cannot be written to ({error.strerror}): state and results are kept "
                "there; set LAMINA_HOME and LAMINA_OUTPUTS to folders that you may write to."
            ) from error
