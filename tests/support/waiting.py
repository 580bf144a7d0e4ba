"""Waiting for conditions. The only place of these tests that sleeps, and only between two looks."""

import time

SECONDS = 15.0
"""How long a condition may take when nothing else is said: far more than it should, so that a slow machine passes."""


def wait_until(condition, what, seconds=SECONDS, interval=0.01):
    """Calls `condition` until it gives something true, and returns that. `what` says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s; the last look gave {value!r}")
        time.sleep(interval)
