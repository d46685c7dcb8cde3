"""How a peer's process talks with scripts/compare-peers: one line of JSON for each line of standard input.

A peer sets itself up once, prints {"ready": …} and then measures whenever it is asked to, so that peers and Lamina
can take turns without each starting anew.
"""

import json
import os
import sys
import time


def pin(threads):
    """Keep to the first `threads` processors of those allowed, and make libraries start as many threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def median_time(work, seconds):
    """Microseconds of one call of `work`: the median over pieces of at least 5 ms each within `seconds`."""
    work()
    started = time.perf_counter()
    work()
    count = max(1, int(0.005 / max(time.perf_counter() - started, 1e-7)))
    pieces = []
    end = time.perf_counter() + seconds
    while len(pieces) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        for _ in range(count):
            work()
        pieces.append((time.perf_counter() - started) / count)
    return sorted(pieces)[len(pieces) // 2] * 1e6


def serve(versions, measure):
    """Answer each line "SECONDS" with what `measure(seconds)` returns, until standard input ends."""
    # Libraries print to standard output now and then; answers go to a copy of it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer({"ready": versions})
    for line in sys.stdin:
        answer(measure(float(line)))
