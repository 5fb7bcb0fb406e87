"""Everything a person may ask for, by name; an entry is a ``core.operations.operation``."""

from typing import Any

from core.operations.operation import Operation
from medical.operations.table import OPERATIONS as MEDICAL
from video.operations.table import OPERATIONS as VIDEO

OPERATIONS: dict[str, Operation[Any, Any, Any]] = {**VIDEO, **MEDICAL}
