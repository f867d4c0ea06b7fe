"""What can go wrong, as few classes as callers act on differently."""


class TocsinError(Exception):
    """Root of every error that tocsin raises on purpose; its text names the thing and the way out."""


class BadEvent(TocsinError):
    """Bytes or fields that are not an event; the record goes to the dead letters, the rest goes on."""


class Invalid(TocsinError):
    """A definition or a request that a person has to mend."""


class NotFound(TocsinError):
    """A name or an id that nothing answers to."""


class Conflict(TocsinError):
    """Somebody else was faster: read again, then decide again."""


class Unavailable(TocsinError):
    """A service (broker, database, API) does not answer; the same call may succeed later."""


class EvaluationError(TocsinError):
    """An expression or a condition that fails on this value; the next value may do."""
