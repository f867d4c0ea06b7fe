"""Secrets of blocks in this process: sealed on their way out of it, and known to the redactor."""

from typing import Any

from tocsin.flows.blocks import documents
from tocsin.flows.portable import cover
from tocsin.store.redact import learn, redact
from tocsin.store.secrets import seal, unseal

# Any below: JSON.


def learn_secrets(document: Any) -> None:
    """Keep every secret of an open document out of the lines that runs log, and out of their errors, from now on."""
    cover(redact)
    learn(*documents.secrets_in(document))


def sealed_document(document: Any) -> Any:
    """An open document with its secrets sealed."""
    return documents.sealed(document, seal)


def open_document(document: Any) -> Any:
    """A sealed document with its secrets open. Raises Invalid without the key."""
    return documents.opened(document, unseal)
