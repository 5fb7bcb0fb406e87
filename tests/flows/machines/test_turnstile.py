import threading
import time

import pytest

from flows.machines.priority_lock import turn

DEADLINE_S = 20.0


def eventually(true):
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.mark.parametrize("locked", [True, False], ids=["gpu", "cpu"])
def test_an_urgent_job_comes_after_the_item_under_way_and_before_the_next(tmp_path, locked):
    lock = tmp_path / "device.lock" if locked else None
    gate, order = tmp_path / "device.gate", []
    waiting, done = threading.Event(), threading.Event()

    def urgent():
        waiting.set()
        with turn(lock, gate, urgent=True):
            order.append("urgent")
            time.sleep(0.1)
            order.append("urgent over")
        done.set()

    thread = threading.Thread(target=urgent)
    for number in range(200):
        with turn(lock, gate, urgent=False):
            order.append(number)
            if number == 3:
                thread.start()
                waiting.wait(DEADLINE_S)
                time.sleep(0.1)  # by now it stands at the gate, or computes on the CPU
        if done.is_set():
            break
    thread.join()
    begun = order.index("urgent")
    assert order[begun - 1] == 3
    assert order[begun + 1] == "urgent over"


def test_nobody_waits_for_a_job_that_is_not_urgent(tmp_path):
    gate = tmp_path / "device.gate"
    with turn(None, gate, urgent=False), turn(None, gate, urgent=False):
        pass


def test_two_urgent_jobs_take_the_device_one_after_the_other(tmp_path):
    lock, gate = tmp_path / "device.lock", tmp_path / "device.gate"
    inside, most = [], []

    def work():
        with turn(lock, gate, urgent=True):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert most == [1, 1, 1, 1]
