"""Peak memory of `nestbit compress` on a file larger than the memory it may use.

Writes a float32 .npy by chunks, compresses it in a child process, reports the child's peak
resident memory as JSON, and removes both files. Exits with 1 if the peak passes --limit-mb.

    python bench/stream_memory.py --dir /tmp
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

# Small: what this process once held counts into the peak of a child that it starts.
WRITE_ROWS = 2048


def write_rows(path: Path, n: int, dim: int) -> None:
    """Random rows with a falling spectrum, written by chunks."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.4
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, WRITE_ROWS):
            rows = rng.standard_normal((min(WRITE_ROWS, n - start), dim), dtype=np.float32)
            file.write((rows * spread).data)


def peak_of(command: list[str]) -> tuple[int, float]:
    """Peak resident bytes and seconds of a command that must succeed."""
    began = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)} failed with status {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--codec", default="binary + int8")
    parser.add_argument("--limit-mb", type=int, default=1000)
    parser.add_argument("--dir", type=Path, help="where the files go; needs 1.3 times the input")
    options = parser.parse_args()
    nestbit = [sys.executable, "-m", "nestbit.cli"]
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        vectors, codes = Path(folder, "vectors.npy"), Path(folder, "codes.nest")
        write_rows(vectors, options.rows, options.dim)
        version, _ = peak_of([*nestbit, "--version"])
        command = [*nestbit, "compress", str(vectors), str(codes), "--codec", options.codec]
        peak, seconds = peak_of(command)
        result = {
            "rows": options.rows,
            "dim": options.dim,
            "codec": options.codec,
            "input_bytes": vectors.stat().st_size,
            "output_bytes": codes.stat().st_size,
            "peak_resident_mb": round(peak / 1e6),
            "resident_mb_of_starting": round(version / 1e6),
            "seconds": round(seconds, 1),
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
            "numpy": np.__version__,
        }
    print(json.dumps(result, indent=2))
    if peak > options.limit_mb * 1e6:
        sys.exit(f"the peak passes {options.limit_mb} MB")


if __name__ == "__main__":
    main()
