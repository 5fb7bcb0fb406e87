import logging

import pytest
from prefect.cache_policies import NO_CACHE
from prefect.logging.handlers import APILogHandler
from prefect.states import Failed

from flows import super_resolve_mri, text_to_video, train_video
from flows._run_log import LOGGERS, join_run_log
from flows._stages import worth_retrying

STAGES = [
    *(getattr(text_to_video, name) for name in ("prepare", "sample", "decode", "encode")),
    *(getattr(super_resolve_mri, name) for name in ("prepare", "sample", "publish", "verify")),
    train_video.train,
]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ValueError("num_frames=0"), False),
        (OSError("no space left"), True),
        (RuntimeError("decoded other frames"), True),
    ],
)
def test_refused_input_is_not_tried_again_and_faults_are(error, again):
    assert worth_retrying(None, None, Failed(data=error)) is again


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage.fn.__module__}.{stage.name}")
def test_no_stage_hashes_its_arguments_or_keeps_its_result(stage):
    assert stage.cache_policy == NO_CACHE
    assert stage.persist_result is False


def test_the_domain_speaks_into_the_run_once():
    before = {
        name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level)
        for name in LOGGERS
    }
    try:
        join_run_log()
        join_run_log()
        for name in LOGGERS:
            logger = logging.getLogger(name)
            assert [type(h) for h in logger.handlers].count(APILogHandler) == 1
            assert logger.isEnabledFor(logging.INFO)
    finally:
        for name, (handlers, level) in before.items():
            logging.getLogger(name).handlers[:] = handlers
            logging.getLogger(name).setLevel(level)
