"""A parameter that nobody knows is refused: a filter with a typing mistake would otherwise let everything through."""

from difflib import get_close_matches
from http import HTTPStatus

from fastapi import Request
from fastapi.routing import APIRoute

from tocsin.server.api.problems import Refused


def only_known(request: Request) -> None:
    """Raise Refused, with the nearest name, for a query parameter that the route does not take."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    takers = (route.dependant, *route.dependant.dependencies)
    known = sorted(field.alias for taker in takers for field in taker.query_params)
    for name in request.query_params:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            way_out = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"unknown query parameter {name[:80]!r}; {way_out}")
