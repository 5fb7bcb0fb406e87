"""The parameters that flows have in common, with the words that the form shows for them."""

from typing import Annotated, Any, TypeVar

from pydantic import Field

from core.request import title
from flows.jobs.dicom_copies import ResultFormat
from flows.requests.forms import Form

Model = TypeVar("Model")


def _titled(name: str) -> Any:
    """Prefect titles a parameter by its bare name; what stands in the schema's extra wins."""
    return Field(json_schema_extra={"title": title(name)})


Asked = Annotated[Model, _titled("request"), Form()]
Project = Annotated[str, _titled("project")]
Several = Annotated[int, Field(ge=1, le=64, json_schema_extra={"title": title("count")})]
OutputName = Annotated[str, _titled("output_name")]
Format = Annotated[ResultFormat, _titled("result_format")]
