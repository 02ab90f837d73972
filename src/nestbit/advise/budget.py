"""What a recipe costs to keep: bytes, memory and money."""

from __future__ import annotations

from dataclasses import dataclass

from nestbit.errors import InputError

GB = 2**30


@dataclass(frozen=True)
class Prices:
    """Dollars per GB (2^30 bytes) and month, of memory and of disk.

    3.8 is the price of memory that published comparisons of quantized search reckon with; 0.08 is
    that of a usual network disk. Both change with provider and year: give your own.
    """

    ram: float = 3.8
    disk: float = 0.08

    def __post_init__(self) -> None:
        if not (0 < self.ram < float("inf") and 0 <= self.disk < float("inf")):
            raise InputError(
                f"prices are dollars per GB and month, got {self.ram} for memory and "
                f"{self.disk} for disk"
            )


@dataclass(frozen=True)
class Footprint:
    """Bytes that one row takes in memory and on disk."""

    ram: int
    disk: int

    @property
    def total(self) -> int:
        """Bytes in both places."""
        return self.ram + self.disk

    def gigabytes(self, rows: int) -> float:
        """Memory for ``rows`` rows, in GB of 2^30 bytes."""
        return self.ram * rows / GB

    def dollars(self, rows: int, prices: Prices) -> float:
        """Dollars per month for ``rows`` rows."""
        return rows * (self.ram * prices.ram + self.disk * prices.disk) / GB


@dataclass(frozen=True)
class Budget:
    """The most a recipe may take: any of memory per vector, memory for all rows, and money.

    ``bytes_per_vector`` and ``gb`` (2^30 bytes) are of memory; ``gb`` and ``dollars_per_month``
    are for ``rows`` rows, which they need. Raises `InputError` for limits that are not positive.
    """

    bytes_per_vector: float | None = None
    gb: float | None = None
    dollars_per_month: float | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        limits = (self.bytes_per_vector, self.gb, self.dollars_per_month)
        if all(limit is None for limit in limits) and self.rows is None:
            raise InputError("the budget is empty: give bytes_per_vector, gb or dollars_per_month")
        if any(value is not None and not value > 0 for value in (*limits, self.rows)):
            raise InputError(f"the limits of a budget must be above 0, got {self}")
        if self.rows is None and (self.gb is not None or self.dollars_per_month is not None):
            raise InputError("gb and dollars_per_month are for so many rows: give rows as well")

    def allows(self, footprint: Footprint, prices: Prices) -> bool:
        """Whether a recipe of this footprint stays within every limit."""
        if self.bytes_per_vector is not None and footprint.ram > self.bytes_per_vector:
            return False
        if self.rows is None:
            return True
        if self.gb is not None and footprint.gigabytes(self.rows) > self.gb:
            return False
        money = self.dollars_per_month
        return money is None or footprint.dollars(self.rows, prices) <= money

    def __str__(self) -> str:
        parts = []
        if self.bytes_per_vector is not None:
            parts.append(f"{self.bytes_per_vector:g} bytes of memory per vector")
        if self.gb is not None:
            parts.append(f"{self.gb:g} GB of memory for {self.rows:,} rows")
        if self.dollars_per_month is not None:
            parts.append(f"${self.dollars_per_month:g} per month for {self.rows:,} rows")
        return " and ".join(parts) or f"no limit for {self.rows:,} rows"
