"""What a demo corpus is, and how texts are cut into known items."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

# A query of fewer words finds many texts as well as its own; a longer one is no query.
_QUERY_WORDS = (4, 40)
# A document shorter than this says too little beside its name.
DOCUMENT_WORDS = 8
MAX_CHARACTERS = 2000

_ABBREVIATIONS = ("e.g.", "i.e.", "cf.", "vs.", "etc.", "approx.", "Dr.", "Mr.", "Ms.", "Fig.")
_SENTENCE_END = re.compile(r"""[.!?]["')\]]*\s+(?=["'(\[`*]*[A-Z0-9])""")


@dataclass(frozen=True)
class Entry:
    """One text of the corpus.

    ``document`` is what is embedded and searched; ``query``, when not empty, is a sentence or
    title about it that does not stand in it, so that the entry is a known item for that query.
    """

    name: str
    query: str
    document: str

    @property
    def headline(self) -> str:
        """One line that says what the entry is about."""
        return " ".join((self.query or self.document).split())


@dataclass(frozen=True)
class Corpus:
    """Entries in a deterministic order, where they come from, and how the queries were made."""

    entries: tuple[Entry, ...]
    source: str
    queries_from: str
    examples: tuple[str, ...] = ()

    @property
    def known_items(self) -> list[int]:
        """Rows of the entries that have a query."""
        return [i for i, entry in enumerate(self.entries) if entry.query]


def first_sentence(text: str) -> tuple[str, str]:
    """Split ``text`` after its first sentence, or its first paragraph if that ends earlier."""
    text = text.strip()
    paragraph = re.split(r"\n\s*\n", text, maxsplit=1)[0]
    for match in _SENTENCE_END.finditer(paragraph):
        head = paragraph[: match.end()].rstrip()
        if not head.endswith(_ABBREVIATIONS):
            return head, text[match.end() :].strip()
    return paragraph.strip(), text[len(paragraph) :].strip()


def usable_query(query: str) -> bool:
    """True for a sentence or title of a length that a person might search with."""
    words = re.findall(r"\w{2,}", query)
    return _QUERY_WORDS[0] <= len(words) <= _QUERY_WORDS[1]


def usable_document(document: str) -> bool:
    """True for a text that says something."""
    return len(re.findall(r"\w{2,}", document)) >= DOCUMENT_WORDS


def contains(document: str, query: str) -> bool:
    """True if the query's words stand in the document as they are, whatever the spacing."""
    return fold(query).rstrip(".!? ") in fold(document)


def fold(text: str) -> str:
    """Return ``text`` with one space between words and without case."""
    return " ".join(text.split()).casefold()


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return ``text`` cut to at most ``limit`` characters, before a space where there is one."""
    if len(text) <= limit:
        return text
    cut = text[:limit]
    space = re.search(r"\s\S*$", cut)
    return (cut[: space.start()].rstrip() if space else "") or cut


class Deduplicator:
    """Refuses an entry whose document was seen, and empties a query that was seen."""

    def __init__(self) -> None:
        self._queries: set[bytes] = set()
        self._documents: set[bytes] = set()

    def admit(self, entry: Entry, body: str) -> Entry | None:
        """Return the entry to keep, perhaps without its query; ``body`` is compared."""
        document, query = _digest(body), _digest(entry.query)
        if document in self._documents:
            return None
        self._documents.add(document)
        if not entry.query:
            return entry
        if query in self._queries:
            return replace(entry, query="")
        self._queries.add(query)
        return entry


def sample(entries: Iterable[Entry], limit: int, seed: int) -> tuple[tuple[Entry, ...], int]:
    """Return ``limit`` random entries in their own order, and how many there were.

    Reservoir sampling (Vitter's algorithm R), so that a corpus of any size is read once.
    """
    rng, kept, count = random.Random(seed), list[tuple[int, Entry]](), 0
    for count, entry in enumerate(entries, start=1):
        if count <= limit:
            kept.append((count, entry))
        elif (slot := rng.randrange(count)) < limit:
            kept[slot] = (count, entry)
    return tuple(entry for _, entry in sorted(kept, key=lambda pair: pair[0])), count


def _digest(text: str) -> bytes:
    return hashlib.blake2b(fold(text).encode("utf-8", "replace"), digest_size=12).digest()
