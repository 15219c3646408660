"""How a driver takes signals: real ones, to a real process."""

import signal
import subprocess
import sys
import time

from tune.process.signals import ENDING, ONE_S

WAITS = "import time\nfrom tune.process.signals import Signals\nSignals().install()\nprint('here', flush=True)\n"


def told(*signals: tuple[float, int]) -> int | None:
    """Send signals, each after some seconds, to a process that acts on none; return its exit code, if it has one."""
    words = [sys.executable, "-c", f"{WAITS}while True: time.sleep(0.05)"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        for number, (after_s, which) in enumerate(signals):
            time.sleep(after_s)
            process.send_signal(which)
            if number == 0:
                assert process.stderr.readline().strip() == ENDING
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()


def test_a_queue_that_tells_every_process_of_a_job_ends_the_driver_in_order() -> None:
    assert told((0, signal.SIGTERM), (0, signal.SIGTERM)) is None


def test_a_second_signal_ends_at_once() -> None:
    assert told((0, signal.SIGTERM), (ONE_S + 0.1, signal.SIGTERM)) == 3
    assert told((0, signal.SIGTERM), (0, signal.SIGINT)) == 3
    assert told((0, signal.SIGINT), (0, signal.SIGINT)) == 130
