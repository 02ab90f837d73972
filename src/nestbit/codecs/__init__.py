"""Codecs: fitted transforms from embeddings to codes, and their spec grammar."""

from nestbit.codecs.chain import CodesScorer, first_part
from nestbit.codecs.codec import DEFAULT_SAMPLE, METRICS, Codec, check_codes, fit
from nestbit.codecs.codes import Codes, LevelCodes
from nestbit.codecs.errors_model import TAIL_AT
from nestbit.codecs.spec import CODERS, TRANSFORMS, parse

__all__ = [
    "CODERS",
    "DEFAULT_SAMPLE",
    "METRICS",
    "TAIL_AT",
    "TRANSFORMS",
    "Codec",
    "Codes",
    "CodesScorer",
    "LevelCodes",
    "check_codes",
    "first_part",
    "fit",
    "parse",
]
