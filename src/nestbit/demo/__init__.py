"""The demo: a real corpus, embedded, compressed, searched and judged in one run."""
