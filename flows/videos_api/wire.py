"""What comes over the wire as a request for a clip, and what goes back of a job.

The words are those of OpenAI's Videos API and of what vLLM-Omni and SGLang add to it. Nothing is
rounded and nothing left out in silence: a field that nobody knows is refused.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from core.refusal import Refusal
from flows.requests.installed import NotInstalledRefusal
from video.fields import USUAL
from video.policy.prompts import PolicyRefusal
from video.request import VideoRequest

JOB = "video_"
SPELLINGS = {
    "prompt": "prompt",
    "negative_prompt": "negative",
    "num_inference_steps": "steps",
    "steps": "steps",
    "guidance_scale": "guidance",
    "num_frames": "num_frames",
    "width": "width",
    "height": "height",
    "fps": "fps",
    "seed": "seed",
}
PICTURE = "input_reference"
ELSEWHERE = (
    PICTURE,
    "model",
    "size",
    "seconds",
    "user",
    "project",
)  # read below, or for the log alone
STATES = {
    "SCHEDULED": "queued", "PENDING": "queued", "PAUSED": "queued", "RUNNING": "in_progress",
    "CANCELLING": "in_progress", "COMPLETED": "completed", "FAILED": "failed",
    "CRASHED": "failed", "CANCELLED": "failed",
}  # fmt: skip
CODES: dict[type[Exception], tuple[str, str | None]] = {
    PolicyRefusal: ("content_policy_violation", None),
    NotInstalledRefusal: ("model_not_found", "model"),
}
"""What OpenAI calls an error, and the field that it is of."""
SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def fields_of(kind: str, body: bytes) -> dict[str, Any]:
    """The fields of a form or of JSON; a picture to begin from as bytes.

    Raises:
        Refusal: It is neither, or holds another file.
    """
    base = kind.partition(";")[0].strip().lower()
    try:
        if base == "application/json":
            said = json.loads(body or b"null")
        elif base == "multipart/form-data":
            said = _parts(kind, body)
        elif base == "application/x-www-form-urlencoded":
            said = dict(parse_qsl(body.decode()))
        else:
            said = None
    except Refusal:
        raise
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Refusal(
            f"content-type {base or 'none'}: a request is JSON or a form; send one as OpenAI's "
            "client does."
        )
    more = said.pop("extra_body", None)
    return said | (more if isinstance(more, dict) else {})


def request_of(said: dict[str, Any], is_engine: Callable[[str], bool]) -> VideoRequest:
    """The request for a clip.

    Args:
        said: Fields as they came.
        is_engine: Whether a name is that of an engine; any other is a model of ours.

    Raises:
        ValueError: A field that nobody knows, or a value that none may have.
    """
    told = {name: value for name, value in said.items() if value not in (None, "")}
    if unknown := sorted(told.keys() - SPELLINGS.keys() - {*ELSEWHERE}):
        raise Refusal(
            f"{unknown[0]}: nothing here knows the field; leave it out, or use one of "
            f"{', '.join((*SPELLINGS, *ELSEWHERE))}."
        )
    asked = {SPELLINGS[name]: value for name, value in told.items() if name in SPELLINGS}
    if model := str(told.get("model", "")):
        asked["engine" if is_engine(model) else "model"] = model
    if told.get(PICTURE):
        asked["first"] = told[PICTURE]  # where it was kept
    asked |= _size(str(told.get("size", "")))
    if "seconds" in told and "num_frames" not in asked:
        asked["num_frames"] = _frames(str(told["seconds"]), asked)
    return VideoRequest.model_validate(asked)


def job_of(run: dict[str, Any], progress: float) -> dict[str, Any]:
    """A run as a client knows it."""
    asked = run["parameters"].get("request", {})
    state = run.get("state") or {}
    status = STATES.get(run["state_type"] or "SCHEDULED", "queued")
    fps, frames = float(asked.get("fps") or 0), int(asked.get("num_frames") or 0)
    found = {
        "id": JOB + run["id"].replace("-", ""),
        "object": "video",
        "status": status,
        "progress": 100 if status == "completed" else int(progress),
        "created_at": _seconds(run["created"]),
        "completed_at": _seconds(run.get("end_time")) if status == "completed" else None,
        "expires_at": None,
        "error": None,
        "model": asked.get("engine") or asked.get("model") or "",
        "prompt": asked.get("prompt", ""),
        "remixed_from_video_id": None,
        "seconds": f"{frames / fps:g}" if fps and frames else "",
        "size": f"{asked.get('width') or ''}x{asked.get('height') or ''}".strip("x"),
    }
    if status == "failed":
        name = (state.get("name") or "failed").lower()
        found["error"] = {"code": name, "message": state.get("message") or name}
    return found


def run_of(job: str) -> str:
    """The run that a job's name means; empty for none."""
    digits = job.removeprefix(JOB)
    if not re.fullmatch(r"[0-9a-f]{32}", digits) or digits == job:
        return ""
    return "-".join(re.fullmatch(r"(.{8})(.{4})(.{4})(.{4})(.{12})", digits).groups())  # pyright: ignore[reportOptionalMemberAccess]


def complaint_of(error: Exception) -> dict[str, Any]:
    """An error as clients read it."""
    from pydantic import ValidationError

    from flows.requests.complaints import complaint

    text = str(error)
    if isinstance(error, ValidationError):
        text = "; ".join(complaint(detail) for detail in error.errors())
    code, param = CODES.get(type(error), (None, None))
    return {
        "error": {"message": text, "type": "invalid_request_error", "param": param, "code": code}
    }


def _size(size: str) -> dict[str, int]:
    if not size:
        return {}
    found = SIZE.fullmatch(size)
    if not found:
        raise Refusal(f"size={size[:40]}: a size is written WIDTHxHEIGHT; such as 832x480.")
    return {"width": int(found[1]), "height": int(found[2])}


def _frames(seconds: str, asked: dict[str, Any]) -> int:
    fps = asked.get("fps") or (0 if asked.get("engine") else USUAL["fps"][0])
    try:
        if not fps:
            raise Refusal(
                f"seconds={seconds[:20]}: an engine's rate is not known before its run; give fps "
                "beside it, or num_frames in its place."
            )
        return round(float(seconds) * float(fps))
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(
            f"seconds={seconds[:20]}: a length is a number of seconds; such as 4."
        ) from error


def _parts(kind: str, body: bytes) -> dict[str, Any]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    found: dict[str, Any] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = str(part.get_param("name", header="content-disposition") or "")
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        if part.get_filename() and name != PICTURE:
            raise Refusal(
                f"{name}: a file is taken as {PICTURE} alone, a picture to begin "
                "from; leave it out."
            )
        found[name] = content if part.get_filename() else content.decode()
    return found


def _seconds(time: str | None) -> int | None:
    return int(datetime.fromisoformat(time).timestamp()) if time else None
