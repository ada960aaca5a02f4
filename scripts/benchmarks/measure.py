"""Runs programs side by side and says what each took. The standard library only."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

root = pathlib.Path(__file__).resolve().parents[2]
cache = pathlib.Path(os.environ.get("RESQ_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "resq"))


def resq():
    """The path of the binary to measure: $RESQ, or a release build of this clone."""
    if named := os.environ.get("RESQ"):
        return named
    subprocess.run([root / "scripts/setup"], check=True)
    subprocess.run(["swift", "build", "-c", "release", "--product", "resq", "--package-path", root], check=True, stdout=sys.stderr)
    folder = subprocess.run(["swift", "build", "-c", "release", "--show-bin-path", "--package-path", root], check=True, capture_output=True, text=True)
    return folder.stdout.strip() + "/resq"


@dataclass
class Cost:
    """Wall and CPU seconds (user + system), and the largest resident and anonymous memory in MiB (anonymous: Linux only)."""
    wall: float
    cpu: float
    resident: int
    anonymous: int
    text: str


def measure(*command):
    """Runs one program to its end; ends this one when it fails."""
    peak = [0]
    with tempfile.TemporaryFile(mode="w+") as output:
        begin = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.STDOUT)
        ended = threading.Event()

        def watch():
            while not ended.wait(0.005):
                try:
                    with open(f"/proc/{process.pid}/status") as status:
                        peak[0] = max([peak[0]] + [int(line.split()[1]) for line in status if line.startswith("RssAnon")])
                except (OSError, ValueError):
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        sys.exit(f"failed ({process.returncode}): {' '.join(map(str, command))}\n{text[-2000:]}")
    resident = usage.ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return Cost(wall, usage.ru_utime + usage.ru_stime, resident, peak[0] // 1024, text)


def median(costs):
    """What several runs took: the median of the times, the largest of the memory, the last output."""
    return Cost(
        statistics.median(cost.wall for cost in costs), statistics.median(cost.cpu for cost in costs),
        max(cost.resident for cost in costs), max(cost.anonymous for cost in costs), costs[-1].text)


def side_by_side(runs, theirs, ours):
    """Two functions that measure take turns; their medians, and the median of the paired wall ratios theirs / ours."""
    pairs = [(theirs(), ours()) for _ in range(runs)]
    ratio = statistics.median(a.wall / b.wall for a, b in pairs)
    return median([a for a, _ in pairs]), median([b for _, b in pairs]), ratio


def report(title, theirs, ours, ratio):
    """Prints one comparison."""
    print(f"{title:<34} theirs {theirs.wall:8.2f} s {theirs.cpu:8.2f} CPU-s {theirs.resident:6d} MiB   "
          f"resq {ours.wall:8.2f} s {ours.cpu:8.2f} CPU-s {ours.anonymous:6d} MiB anonymous   "
          f"{ratio:6.2f} x (CPU {theirs.cpu / ours.cpu:.2f} x)", flush=True)
