"""Events as CloudEvents in answers over HTTP."""

from fastapi import Response
from starlette.datastructures import URL, Headers

from tocsin.events import cloudevents, codec
from tocsin.events.model import Event
from tocsin.server.history import Page


def asks_for(headers: Headers, media_type: str) -> bool:
    """Whether the one who asks names this media type among those that he accepts."""
    accepted = (part.partition(";") for line in headers.getlist("accept") for part in line.split(","))
    return any(kind.strip().lower() == media_type and not _refuses(rest) for kind, _, rest in accepted)


def batch(found: Page, asked: URL, source: str) -> Response:
    """A page as a batch; `asked` with the page's token stands in the header `Link` as the next one."""
    headers, body = cloudevents.to_batch([codec.decode(entry.body) for entry in found.entries], source)
    if found.next is not None:
        following = asked.include_query_params(page=found.next)
        headers["link"] = f'<{following.path}?{following.query}>; rel="next"'
    return Response(body, headers=headers)


def one(event: Event, mode: cloudevents.Mode, source: str) -> Response:
    """One event; binary: its attributes are headers. Raises BadEvent when they do not fit into headers."""
    headers, body = cloudevents.to_http(event, mode, source)
    return Response(body, headers=headers)


def _refuses(parameters: str) -> bool:
    """Whether the parameters of an accepted media type give it no weight (`q=0`)."""
    weights = (part.partition("=") for part in parameters.lower().split(";"))
    return any(name.strip() == "q" and value.strip().rstrip("0") in ("", "0.", ".") for name, _, value in weights)
