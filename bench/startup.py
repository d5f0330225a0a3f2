"""Time how long kfr takes to start: `python bench/startup.py`.

Each in a fresh process; the peer is a Python that imports torch and does nothing else.
"""

import subprocess
import sys
from pathlib import Path

from timing import Row, median_seconds, show

KFR = str(Path(sys.executable).with_name("kfr"))
LOAD = "from kfr import plugins; plugins.make('source', 'wordnet', None)"


def main() -> None:
    """Print the table."""
    torch = _seconds([sys.executable, "-c", "import torch"])
    rows = [
        Row("kfr --help", torch, _seconds([KFR, "--help"]), "<= 400 ms"),
        Row("import kfr", torch, _seconds([sys.executable, "-c", "import kfr"])),
        Row("load WordNet", torch, _seconds([sys.executable, "-c", LOAD])),
    ]
    show("Start-up, against `import torch`", rows)
    show("Loading WordNet alone, in a process that has numpy", [_load_alone(torch)])


def _seconds(command: list[str]) -> float:
    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)

    return median_seconds(run, 5)


def _load_alone(torch: float) -> Row:
    code = (
        "import time, kfr.hierarchy; from kfr import plugins\n"
        "load = plugins.find('source', 'wordnet'); start = time.perf_counter()\n"
        "load(None); print(time.perf_counter() - start)"
    )
    times = [
        float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)
    ]
    return Row("cold load of 82,115 synsets", torch, sorted(times)[2], "<= 300 ms")


if __name__ == "__main__":
    main()
