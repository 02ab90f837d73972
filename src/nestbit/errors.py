"""Every exception nestbit raises on purpose: what was found, where, and the remedy."""


class NestbitError(Exception):
    """Base class; the command line prints it in one line and exits with 2."""


class InputError(NestbitError, ValueError):
    """Embeddings, queries or options that cannot be used as given."""


class SpecError(NestbitError, ValueError):
    """A codec spec that does not parse; the message lists the known stages and arguments."""


class NotFittedError(NestbitError, RuntimeError):
    """A codec was asked to encode before it was fitted."""


class FileFormatError(NestbitError, ValueError):
    """A file is truncated, altered, foreign, or of a newer format version."""


class MissingExtraError(NestbitError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class LockedError(NestbitError, RuntimeError):
    """An index is being changed by another handle; the message names the process that holds it."""
