"""Advice: what compression keeps on a user's own embeddings, and the recipe to take."""

from nestbit.advise.advice import Advice, Loser
from nestbit.advise.budget import Budget, Footprint, Prices
from nestbit.advise.diagnosis import Diagnosis, diagnose
from nestbit.advise.extrapolation import Extrapolation, extrapolate
from nestbit.advise.intervals import Interval
from nestbit.advise.options import Option
from nestbit.advise.recipes import Recipe
from nestbit.advise.run import advise
from nestbit.advise.words import in_words

__all__ = [
    "Advice",
    "Budget",
    "Diagnosis",
    "Extrapolation",
    "Footprint",
    "Interval",
    "Loser",
    "Option",
    "Prices",
    "Recipe",
    "advise",
    "diagnose",
    "extrapolate",
    "in_words",
]
