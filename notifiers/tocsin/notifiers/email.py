"""Mail through aiosmtplib: the only place that imports it. One connection a mail, one try, no sleep.

```text
connect ─▶ TLS ─▶ AUTH ─▶ MAIL ─▶ RCPT … ─▶ DATA ─▶ content ─▶ 250
   no answer, 4xx: later        5xx: refused        └ lost from here on: nobody knows
```
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiosmtplib

from tocsin.notifiers.blocks import Email
from tocsin.notifiers.email_message import compose, render_email
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, Unknown
from tocsin.notifiers.redact import redact, redacted_logger
from tocsin.notifiers.view import Message, View

TIMEOUT_S: Final = 5
REASON: Final = 500

_LOG = redacted_logger("tocsin.notifiers.email")


def classify(code: int, said: str, *, content: bool = False) -> Outcome:
    """What a reply of an SMTP server means: 4xx is tried again, 5xx is the end; of `content` a plainer one may pass."""
    reason = redact(f"SMTP: {code} {said}".strip())[:REASON]
    if 500 <= code < 600:
        return Refused(reason, resend_minimal=content, status=code)
    return Later(None, reason, code)


class EmailNotifier:
    """Some mailboxes, through one server. A mail that is sent again has the same `Message-ID`."""

    def __init__(self, block: Email) -> None:
        self._block = block
        self._domain = block.sender.rpartition("@")[2].lower()

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """The parts of the mail for `view`."""
        return render_email(view, domain=self._domain, minimal=minimal)

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Send the mail, once. It is delivered when the server takes it for at least one of the recipients."""
        first = handle if handle and message.action != "test" else {}
        block = self._block
        mail = compose(
            message.body,
            sender=(block.sender_name, block.sender),
            recipients=block.recipients,
            first=first,
        )
        outcome = await self._exchange(mail)
        if not isinstance(outcome, Delivered):
            return outcome
        told = first or {"message_id": message.body["message_id"], "subject": message.body["subject"]}
        return Delivered(told, outcome.status)

    async def find(self, message: Message) -> Delivered | Later | None:
        """Mail cannot be looked for: None. The same `Message-ID` lets a mailbox drop the second one."""
        return None

    async def close(self) -> None:
        """Nothing of its own: a connection lives as long as its mail."""

    async def _exchange(self, mail: bytes) -> Outcome:
        try:
            client = await self._connect()
        except aiosmtplib.SMTPResponseException as error:
            return classify(error.code, error.message)
        except aiosmtplib.SMTPNotSupported as error:
            return Refused(_told(error))
        except (OSError, aiosmtplib.SMTPException, ValueError) as error:  # nothing was said yet: no mail can be there
            return Later(None, _told(error))
        try:
            return await _hand_over(client, self._block, mail)
        finally:
            client.close()

    async def _connect(self) -> aiosmtplib.SMTP:
        """A connection with TLS and login done, as the block asks."""
        block = self._block
        client = aiosmtplib.SMTP(
            hostname=block.host,
            port=block.port,
            use_tls=block.tls == "tls",
            start_tls=block.tls == "starttls",
            tls_context=await asyncio.to_thread(_trust, block.ca_file) if block.tls != "none" else None,
            local_hostname=_own_name(),
            timeout=TIMEOUT_S,
        )
        await client.connect()
        if block.user and block.password:
            try:
                await client.login(block.user.get_secret_value(), block.password.get_secret_value())
            except BaseException:
                client.close()
                raise
        return client


async def _hand_over(client: aiosmtplib.SMTP, block: Email, mail: bytes) -> Outcome:
    """Envelope and content. Only once the content is on its way can a lost connection mean that it arrived."""
    try:
        await client.mail(block.sender)
        refused = [wrong for to in block.recipients if (wrong := await _offer(client, to))]
    except aiosmtplib.SMTPResponseException as error:
        return classify(error.code, error.message)
    except (OSError, aiosmtplib.SMTPException) as error:
        return Later(None, _told(error))
    if len(refused) == len(block.recipients):
        return _nobody(refused)
    try:
        done = await client.data(mail)
    except aiosmtplib.SMTPResponseException as error:
        return classify(error.code, error.message, content=True)
    except (OSError, aiosmtplib.SMTPException) as error:
        return Unknown(_told(error))
    for wrong in refused:
        _LOG.warning("notifier %s: %s was not told: %d %s", block.name, wrong.recipient, wrong.code, wrong.message)
    return Delivered({}, done.code)


async def _offer(client: aiosmtplib.SMTP, recipient: str) -> aiosmtplib.SMTPRecipientRefused | None:
    try:
        await client.rcpt(recipient)
    except aiosmtplib.SMTPRecipientRefused as error:
        return error
    return None


def _nobody(refused: Sequence[aiosmtplib.SMTPRecipientRefused]) -> Outcome:
    """No recipient was taken: tried again as long as one of them may be taken later."""
    hopeful = next((wrong for wrong in refused if wrong.code < 500), refused[0])
    return classify(hopeful.code, f"{hopeful.recipient}: {hopeful.message}")


def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Certificates of the system's authorities, or of those in the file, and TLS 1.2 or newer."""
    if ca_file is None:
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))


def _own_name() -> str:
    """What we call ourselves in EHLO: this machine's name, without asking anybody."""
    name = socket.gethostname()
    return name if name.isascii() and name else "localhost"


def _told(error: BaseException) -> str:
    return redact(f"SMTP: {type(error).__name__}: {error}".rstrip(": "))[:REASON]


logging.getLogger("aiosmtplib").setLevel(logging.WARNING)
