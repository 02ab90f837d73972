"""A diagnosis in words."""

from __future__ import annotations

from nestbit.advise.diagnosis import Diagnosis, low_entropy


def in_words(found: Diagnosis) -> list[str]:
    """One sentence or two on each property, from `diagnosis.diagnose`."""
    return [
        _spectrum(found),
        _mean(found),
        _outliers(found),
        _values(found),
        _signs(found),
        _prefixes(found),
    ]


def _spectrum(found: Diagnosis) -> str:
    half, most = found.axes_for(0.5), found.axes_for(0.95)
    effect = (
        "The spectrum is steep: bits by energy (nested) gain most over even bits."
        if found.effective_dim < found.dim / 4
        else "The spectrum is flat: bits by energy (nested) gain little over even bits."
    )
    return (
        f"Half of the variance lies on {half} of {found.dim} principal axes, 95% on {most}; "
        f"the effective dimension is {found.effective_dim:.0f}. {effect}"
    )


def _mean(found: Diagnosis) -> str:
    text = f"The mean row has length {found.mean_length:.2f}"
    if found.mean_length > 0.6:
        return (
            f"{text}: all rows point much the same way (strong anisotropy). Raw signs and unsigned "
            "codes describe this common direction; centre before coding signs."
        )
    if found.mean_length > 0.3:
        return f"{text}: rows share a direction to some degree, which centring removes."
    return f"{text}: rows point all ways, so there is little to centre."


def _outliers(found: Diagnosis) -> str:
    if not found.outliers:
        return "No dimension stands out by its size."
    shown = ", ".join(str(i) for i in found.outliers[:8])
    more = f" and {len(found.outliers) - 8} more" if len(found.outliers) > 8 else ""
    many = "dimension stands" if len(found.outliers) == 1 else "dimensions stand"
    return (
        f"{len(found.outliers)} {many} out with over ten times the usual mean square: "
        f"{shown}{more}. Codes with one range or one threshold for all dimensions suffer from it."
    )


def _values(found: Diagnosis) -> str:
    low, high = found.sorted_values[0], found.sorted_values[-1]
    shape = (
        "heavier tails than a bell curve" if found.kurtosis > 1 else "about a bell curve's tails"
    )
    text = (
        f"Values, at a mean square of 1, run from {low:.1f} to {high:.1f} with {shape} "
        f"(excess kurtosis {found.kurtosis:.1f})."
    )
    if low >= 0:
        text += " None is negative, so their signs say only whether a value is zero."
    return text


def _signs(found: Diagnosis) -> str:
    poor = low_entropy(found)
    plain, centred, rotated = (found.sign_recall[name] for name in ("plain", "centred", "rotated"))
    figures = (
        f"a float query on sign bits finds {plain:.0%} of the true ten, {centred:.0%} after "
        f"centring, {rotated:.0%} after centring and a rotation"
    )
    entropy = (
        f"{poor} of {found.dim} signs carry less than half a bit; " if poor else "Signs are even; "
    )
    if found.signs_suit:
        return f"Plain sign bits suit this model: {entropy[0].lower()}{entropy[1:]}{figures}."
    if plain < max(found.sign_recall.values()) - 0.05:
        better = "center | binary" if centred >= rotated - 0.02 else "center | rotate | binary"
        return f"Plain sign bits do not suit this model ({better} does better): {entropy}{figures}."
    return f"Sign bits of any kind are poor for this model: {entropy}{figures}."


def _prefixes(found: Diagnosis) -> str:
    parts = [
        f"the first {d} find {recall:.0%} (random {d}: {found.random_recall[d]:.0%})"
        for d, recall in found.prefix_recall.items()
    ]
    if not parts:
        return "There are too few dimensions to look at prefixes."
    verdict = (
        "Prefixes are Matryoshka-like, so truncation is worth trying"
        if found.matryoshka
        else "Prefixes are no better than random dimensions, so never truncate; use pca instead"
    )
    return f"{verdict}: {'; '.join(parts)}."
