"""Write the golden file of the present format version: run once when the version changes."""

from pathlib import Path

from test_codes_file import golden_rows

from nestbit import fit
from nestbit.io import write_codes
from nestbit.io.codes_file import FORMAT_VERSION

if __name__ == "__main__":
    path = Path(__file__).parent / "golden" / f"codes-v{FORMAT_VERSION}.nest"
    path.parent.mkdir(exist_ok=True)
    rows = golden_rows()
    codec = fit(rows, "binary + int8", metric="l2", model="golden")
    write_codes(path, codec, codec.encode(rows), [f"dóc{i}" for i in range(len(rows))])
