"""A clip under way at a server of clips outlives the stack: fetched afterwards, asked for once."""

import psutil
import pytest
from stacks import RUN_S, WINDOW_S, Stack, wait
from videos_servers import VideosServer, serving

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SIZE = {"num_frames": 5, "height": 16, "width": 32, "fps": 8}


def begun(stack, server, address):
    """A run that waits for its job at the server."""
    asked = {"prompt": "a cat", "engine": f"{address}/some/model", "seed": 3, **SIZE}
    run = stack.server.start("text_to_video", {"request": asked})
    wait(lambda: any(job["polls"] for job in server.jobs.values()), RUN_S)
    return run


def ended(stack, end):
    """End the stack so, with all that it started."""
    family = psutil.Process(stack.process.pid).children(recursive=True)
    end(stack.process)
    stack.process.wait(60)
    stack.log.close()
    assert psutil.wait_procs(family, timeout=40)[1] == []
    (stack.folder / "state" / "stack.json").unlink(missing_ok=True)


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_stack_that_comes_back_fetches_what_was_begun(tmp_path, end):
    server = VideosServer(tmp_path, until=2)
    with serving(server.application) as address:
        folder = tmp_path / "stack"
        folder.mkdir()
        stack = Stack(folder, {})
        run = begun(stack, server, address)
        ended(stack, lambda process: getattr(process, end)())
        server.until = None
        stack = Stack(folder, {})
        try:
            wait(lambda: stack.state(run) == "COMPLETED", RUN_S + WINDOW_S)
        finally:
            stack.end()
        assert len(server.asked) == 1
        assert list((folder / "outputs").glob("*/text_to_video/*/*.mp4"))
