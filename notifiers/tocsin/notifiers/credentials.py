"""What of a block must never be shown: its secret fields, and the parts of an address that are keys. Pure."""

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from tocsin.notifiers.blocks import AnyBlock, Apprise, PagerDuty
from tocsin.notifiers.redact import SHORTEST


def credentials(block: AnyBlock) -> list[str]:
    """Every value that has to be kept out of logs, rows and answers."""
    fields = [getattr(block, name) for name in type(block).model_fields]
    found = [value.get_secret_value() for value in fields if isinstance(value, SecretStr)]
    if isinstance(block, PagerDuty):
        found += webhook_secrets(block)
    if isinstance(block, Apprise):
        found += _of_apprise(block.url.get_secret_value())
    return found


def webhook_secrets(block: PagerDuty) -> list[str]:
    """The secrets of its webhook subscriptions; several are written with commas between them."""
    text = block.webhook_secret.get_secret_value() if block.webhook_secret else ""
    return [part.strip() for part in text.split(",") if part.strip()]


def _of_apprise(url: str) -> Iterator[str]:
    """The parts of an Apprise URL: any of them may be a token, `slack://` has one where others have the host."""
    try:
        parts = urlsplit(url)
        host, user, password = parts.hostname, parts.username, parts.password
    except ValueError:
        return
    written = [user, password, *parts.path.split("/"), *(pair.partition("=")[2] for pair in parts.query.split("&"))]
    if host and "." not in host and host != "localhost":
        written += [host, parts.netloc.rpartition("@")[2].partition(":")[0]]
    yield from (form for part in written if part for form in {part, unquote(part)} if len(form) >= SHORTEST)
