"""Codecs: fitted transforms from embeddings to codes, and their spec grammar."""

from nestbit.codecs.codec import DEFAULT_SAMPLE, METRICS, Codec, check_codes, fit
from nestbit.codecs.codes import Codes, LevelCodes
from nestbit.codecs.spec import CODERS, TRANSFORMS, parse

__all__ = [
    "CODERS",
    "DEFAULT_SAMPLE",
    "METRICS",
    "TRANSFORMS",
    "Codec",
    "Codes",
    "LevelCodes",
    "check_codes",
    "fit",
    "parse",
]
