"""An explanation as JSON: what ``swanherd explain --json`` prints."""

from typing import Any, Final

from swanherd.core.explain import Candidate, Explanation

SCHEMA: Final = 1


def document(told: Explanation) -> dict[str, Any]:
    """Plain data."""
    return {
        "schema": SCHEMA,
        "name": told.name,
        "role": told.role,
        "reason": told.reason,
        "detail": told.detail,
        "source": None if told.source is None else str(told.source),
        "endpoint": None if told.endpoint is None else str(told.endpoint),
        "routes": [_candidate(each) for each in told.routes],
        "sources": [_candidate(each) for each in told.sources],
        "endpoints": [_candidate(each) for each in told.endpoints],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {"what": candidate.what, "won": candidate.won, "because": list(candidate.because)}
