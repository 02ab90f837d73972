"""The index: codes on disk that take inserts, deletes, filters and crashes."""

from nestbit.index.create import create
from nestbit.index.index import Index, open_index
from nestbit.index.records import Record, Stats

__all__ = ["Index", "Record", "Stats", "create", "open_index"]
