"""Gather the texts a machine offers and embed them with a static model, for measuring at scale.

python bench/real_rows.py OUT.npy [--rows 850000] [--texts FILE ...] [--apt-lists DIR]
    [--wordnet DIR] [--roots DIR ...]

Sentences come from the files given, Debian's package descriptions, WordNet's glosses, package
metadata, docstrings and comments, documents, manual pages and service descriptions in JSON, in this
order, until there are more than enough. Writes float16 rows of length one in an order drawn with a
fixed seed; OUT.json tells how many came from where, and the share of near duplicates.
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z`\"'(])")
PARAGRAPH = re.compile(r"\n\s*\n|\n\s*(?:[-*+•]|\d+[.)])\s")
DOCSTRING = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
COMMENTS = re.compile(r"(?:^[ \t]*#[^\n]*\n)+", re.MULTILINE)
TAG = re.compile(r"<[^>]*>")
BLOCK = re.compile(r"</?(?:p|li|div|h\d|td|tr|pre|dd|dt|br)\b[^>]*>", re.IGNORECASE)
SCRIPT = re.compile(r"<(script|style|pre|nav)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
WORD = re.compile(r"[A-Za-z]{2,}")
MAX_BYTES = 4 << 20
BLOCK_ROWS = 8192
SHARE_LOST = 1.02  # some texts have no known token and so no row


def main() -> None:
    arguments = parse_arguments()
    wanted = int(arguments.rows * SHARE_LOST)
    texts: dict[str, None] = {}
    came: Counter[str] = Counter()
    for name, pieces in sources(arguments):
        before = len(texts)
        for text in pieces:
            texts.setdefault(text)
            if len(texts) >= wanted:
                break
        came[name] = len(texts) - before
        print(f"{name}: {came[name]:,} texts", flush=True)
        if len(texts) >= wanted:
            break
    order = np.random.default_rng(arguments.seed).permutation(len(texts))
    listed = list(texts)
    listed = [listed[i] for i in order]
    rows = embed(listed)
    good = np.isfinite(rows).all(axis=1) & (np.abs(rows).sum(axis=1) > 0)
    rows = rows[good][: arguments.rows]
    keys = Counter(" ".join(WORD.findall(text.lower())) for text in listed)
    near = sum(count - 1 for count in keys.values()) / max(1, len(listed))
    same = 1.0 - len(np.unique(rows.view(f"V{rows.shape[1] * 2}"))) / max(1, len(rows))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.save(arguments.out, rows)
    told = {
        "rows": len(rows),
        "dim": rows.shape[1],
        "from": dict(came),
        "near_duplicates": near,
        "equal_rows": same,
        "seed": arguments.seed,
    }
    arguments.out.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=850_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--texts", type=Path, nargs="*", default=[], help=".txt or .jsonl files")
    parser.add_argument("--apt-lists", type=Path, default=Path("/var/lib/apt/lists"))
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--roots", type=Path, nargs="*", default=[Path(sys.prefix), Path("/usr")])
    return parser.parse_args()


def sources(arguments: argparse.Namespace) -> Iterator[tuple[str, Iterable[str]]]:
    yield "files given", sentences(given(arguments.texts))
    yield "Debian descriptions", sentences(debian(arguments.apt_lists))
    yield "WordNet glosses", sentences(wordnet(arguments.wordnet))
    files = list(walk(arguments.roots))
    yield "package metadata", sentences(read(p) for p in files if p.name == "METADATA")
    python = [p for p in files if p.suffix == ".py"]
    yield "docstrings and comments", sentences(text for p in python for text in commented(read(p)))
    pages = [p for p in files if p.suffix in {".md", ".rst", ".html"}]
    yield "documents", sentences(plain(read(p)) for p in pages)
    manuals = [p for p in files if re.search(r"\.[1-9]\w*\.gz$", p.name)]
    yield "manual pages", sentences(roff(read(p)) for p in manuals)
    services = [p for p in files if p.name.startswith(("service-2.json", "service-1.json"))]
    yield "service descriptions", sentences(text for p in services for text in documentation(p))


def sentences(texts: Iterable[str]) -> Iterator[str]:
    """Yield the sentences of at least three words and 20 to 400 characters."""
    for text in texts:
        for paragraph in PARAGRAPH.split(text):
            for sentence in SENTENCE.split(" ".join(paragraph.split())):
                if 20 <= len(sentence) <= 400 and len(WORD.findall(sentence)) >= 3:
                    yield sentence


def walk(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))


def read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            return ""
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "ignore")
    except (OSError, EOFError):
        return ""


def given(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        for line in path.read_text().split("\n"):
            if path.suffix == ".jsonl" and line:
                document = json.loads(line)
                yield f"{document.get('title', '')}\n\n{document['text']}"
            else:
                yield line


def debian(lists: Path) -> Iterator[str]:
    """Yield the long descriptions, and the packages' lists where a machine has no descriptions."""
    found = sorted(lists.glob("*Translation-en*")) or sorted(lists.glob("*_Packages*"))
    for path in found:
        shown = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(path)], capture_output=True, check=True
        )
        for stanza in shown.stdout.decode("utf-8", "ignore").split("\n\n"):
            description = re.search(r"^Description(?:-en)?: (.*(?:\n .*)*)", stanza, re.MULTILINE)
            if description:
                summary, _, rest = description[1].partition("\n")
                yield summary + "\n\n" + rest.replace("\n .\n", "\n\n")


def wordnet(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("data.*")):
        for line in path.read_text(errors="ignore").splitlines():
            _, bar, gloss = line.partition(" | ")
            if bar:
                yield gloss


def documentation(path: Path) -> Iterator[str]:
    try:
        waiting = [json.loads(read(path) or "null")]
    except ValueError:
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            text = value.get("documentation")
            if isinstance(text, str):
                yield plain(text)
            waiting.extend(v for v in value.values() if isinstance(v, dict | list))
        elif isinstance(value, list):
            waiting.extend(value)


def commented(source: str) -> Iterator[str]:
    for match in DOCSTRING.finditer(source):
        yield match[1] or match[2] or ""
    for match in COMMENTS.finditer(source):
        yield "\n".join(line.strip().lstrip("#") for line in match[0].splitlines())


def plain(markup: str) -> str:
    return html.unescape(TAG.sub("", BLOCK.sub("\n\n", SCRIPT.sub("\n\n", markup))))


def roff(source: str) -> str:
    lines = (
        "" if re.match(r"\.(SH|SS|PP|TP|IP|LP|P|br|sp)\b", line) else line
        for line in source.splitlines()
        if not re.match(r"[.'](?!SH|SS|PP|TP|IP|LP|P\b|br|sp|[BI]R? )", line)
    )
    text = "\n".join(re.sub(r"^\.[BI]R? ", "", line) for line in lines)
    return re.sub(r"\\f.|\\\(..|\\&|\\", "", text.replace("\\-", "-"))


def embed(texts: list[str]) -> np.ndarray:
    import wordllama

    model = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    blocks = []
    for start in range(0, len(texts), BLOCK_ROWS):
        block = model.embed(texts[start : start + BLOCK_ROWS])
        with np.errstate(invalid="ignore", divide="ignore"):
            block = block / np.linalg.norm(block, axis=1, keepdims=True)
        blocks.append(block.astype(np.float16))
        if start // BLOCK_ROWS % 10 == 0:
            print(f"embedded {start:,} of {len(texts):,}", flush=True)
    return np.concatenate(blocks)


if __name__ == "__main__":
    main()
