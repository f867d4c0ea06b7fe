"""A stand-in for a mail server: SMTP on loopback with STARTTLS, TLS and login, that can be told to fail at any step."""

import base64
import socketserver
import ssl
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from socket import SHUT_RDWR, socket
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from tocsin.notifiers.standins.certificate import server_context, write_certificate
from tocsin.notifiers.standins.unreliable import Unreliable

Step = Literal["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "content"]
LINE_BYTES: Final = 998
MAX_BYTES: Final = 10 * 1024 * 1024
_REQUIRED: Final = ("From", "To", "Subject", "Date", "Message-ID")
_PAUSE_S: Final = 30


@dataclass(frozen=True)
class SmtpFault:
    """Go wrong at the next `at`: answer `code`, or (None) tear the connection down; keep the mail when `accept`."""

    at: Step
    code: int | None = None
    text: str = "stand-in"
    accept: bool = False


@dataclass(frozen=True)
class Mail:
    """A mail that was taken: its envelope, and what stands in it."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    raw: bytes

    @property
    def id(self) -> str:
        """Its Message-ID."""
        return str(self.message["Message-ID"])

    @property
    def subject(self) -> str:
        """Its subject, decoded."""
        return str(self.message["Subject"])

    def part(self, subtype: Literal["plain", "html"]) -> str:
        """Its text of this subtype; "" without one."""
        body = self.message.get_body((subtype,))
        return str(body.get_content()).replace("\r\n", "\n") if body else ""


class SmtpStandIn(Unreliable[SmtpFault]):
    """A mail server on 127.0.0.1 and a port of its own.

    `mails` has what was taken, one of each Message-ID; `repeats` the ids that came again. `ca_file` is what a client
    has to trust. With `password` only who logs in may send.
    """

    def __init__(
        self, tls: Literal["none", "starttls", "tls"] = "none", *, user: str = "tocsin", password: str | None = None
    ) -> None:
        super().__init__()
        self.tls, self.user, self.password = tls, user, password
        self.mails: list[Mail] = []
        self.repeats: list[str] = []
        self.connections = 0
        self._folder = TemporaryDirectory(prefix="tocsin-smtp-")
        certificate, key = write_certificate(Path(self._folder.name))
        self.ca_file, self.context = str(certificate), server_context(certificate, key)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """127.0.0.1."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop answering, tear down what is open."""
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()

    def fault(self, step: Step) -> SmtpFault | None:
        """The fault that is next, if it is one of this step; it is used up by that."""
        with self.changed:
            if self._faults and self._faults[0].at == step:
                return self._faults.popleft()
            return None

    def keep(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> None:
        """Take a mail; what mail servers would stumble over goes into `violations`."""
        message = message_from_bytes(raw, policy=default)
        assert isinstance(message, EmailMessage)
        mail = Mail(sender, recipients, message, raw)
        with self.changed:
            self.violations += check_mail(raw, message)
            if any(known.id == mail.id for known in self.mails):
                self.repeats.append(mail.id)
            else:
                self.mails.append(mail)
            self.changed.notify_all()


def check_mail(raw: bytes, message: EmailMessage) -> list[str]:
    """What is wrong with a mail; nothing when any server would take it."""
    lines = raw.split(b"\r\n")
    wrong = [f"a line of {len(line):,} bytes" for line in lines if len(line) > LINE_BYTES]
    wrong += ["a bare line feed" for line in lines if b"\n" in line or b"\r" in line]
    wrong += [f"no header {name}" for name in _REQUIRED if not message[name]]
    wrong += [f"the header {name} stands there twice" for name in _REQUIRED if len(message.get_all(name) or []) > 1]
    return wrong + (["not ASCII"] if not raw.isascii() else [])


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, stand_in: SmtpStandIn) -> None:
        self.stand_in = stand_in
        self._open: set[socket] = set()
        super().__init__(("127.0.0.1", 0), _Session)

    def get_request(self) -> tuple[socket, Any]:  # Any: the client's address, as socketserver types it
        """Accept one connection and remember it."""
        connection, client = super().get_request()
        connection.settimeout(_PAUSE_S)
        self.remember(connection)
        return connection, client

    def remember(self, connection: socket) -> None:
        """Hang up on it, too, when the server closes."""
        self._open.add(connection)

    # Any: socketserver's own signature.
    def shutdown_request(self, request: Any) -> None:
        """Close one connection and forget it."""
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake every thread that waits for its client."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    # Any: socketserver's own signature.
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Gone(Exception):
    """The connection is to be torn down."""


class _Session(socketserver.BaseRequestHandler):
    """One connection: lines in, replies out."""

    server: _Server

    def handle(self) -> None:
        """Speak SMTP until the client leaves."""
        self._house, self._secure, self._known = self.server.stand_in, False, False
        with self._house.changed:
            self._house.connections += 1
        with suppress(_Gone, OSError), ExitStack() as self._until:
            if self._house.tls == "tls":
                self._wrap()
            self._open()
            self._reset()
            if self._said("connect", 220, "stand-in ESMTP") == 220:
                self._listen()

    def _open(self) -> None:
        self._file = self._until.enter_context(self.request.makefile("rb"))

    def _listen(self) -> None:
        while line := self._line():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    self._greet()
                case "STARTTLS":
                    self._start_tls()
                case "AUTH":
                    self._login(rest)
                case "MAIL":
                    self._sender_is(rest)
                case "RCPT":
                    self._recipient_is(rest)
                case "DATA":
                    self._take()
                case "QUIT":
                    self._write(221, "bye")
                    return
                case "RSET" | "NOOP":
                    self._reset()
                    self._write(250, "ok")
                case _:
                    self._write(502, "not here")

    def _greet(self) -> None:
        offers = ["stand-in", "PIPELINING"]
        offers += ["STARTTLS"] if self._house.tls == "starttls" and not self._secure else []
        offers += ["AUTH PLAIN LOGIN"] if self._house.password is not None else []
        self._said("ehlo", 250, *offers)

    def _start_tls(self) -> None:
        if self._house.tls != "starttls" or self._secure:
            self._write(502, "not offered")
        elif self._said("starttls", 220, "go ahead") == 220:
            self._wrap()
            self._open()

    def _wrap(self) -> None:
        try:
            self.request = self._house.context.wrap_socket(self.request, server_side=True)
        except (OSError, ssl.SSLError) as error:
            raise _Gone from error
        self._until.callback(self.server.shutdown_request, self.request)
        self.server.remember(self.request)
        self._secure = True

    def _login(self, rest: str) -> None:
        mechanism, _, given = rest.partition(" ")
        if mechanism.upper() == "PLAIN":
            text = base64.b64decode(given or self._asked("")).decode()
            _, user, password = text.split("\0")
        else:
            user = base64.b64decode(given or self._asked("VXNlcm5hbWU6")).decode()
            password = base64.b64decode(self._asked("UGFzc3dvcmQ6")).decode()
        right = (user, password) == (self._house.user, self._house.password)
        self._known = self._said("auth", 235 if right else 535, "done" if right else "who are you") == 235

    def _asked(self, prompt: str) -> str:
        self._write(334, prompt)
        return self._line()

    def _sender_is(self, rest: str) -> None:
        if self._house.password is not None and not self._known:
            self._write(530, "log in first")
        elif self._said("mail", 250, "ok") == 250:
            self._sender = _address(rest)

    def _recipient_is(self, rest: str) -> None:
        if self._said("rcpt", 250, "ok") == 250:
            self._recipients.append(_address(rest))

    def _take(self) -> None:
        if not self._recipients:
            self._write(503, "nobody to send it to")
            return
        if self._said("data", 354, "go on") != 354:
            return
        raw = self._content()
        fault = self._house.fault("content")
        if fault is None or fault.accept:
            self._house.keep(self._sender, tuple(self._recipients), raw)
        self._reset()
        self._answer(fault, 250, "taken")

    def _content(self) -> bytes:
        found: list[bytes] = []
        while (line := self._file.readline(MAX_BYTES)) != b".\r\n":
            if not line:
                raise _Gone
            found.append(line[1:] if line.startswith(b".") else line)
        return b"".join(found)

    def _reset(self) -> None:
        self._sender, self._recipients = "", list[str]()

    def _line(self) -> str:
        return str(self._file.readline(8_192).decode("utf-8", "replace").rstrip("\r\n"))

    def _said(self, step: Step, code: int, *lines: str) -> int:
        return self._answer(self._house.fault(step), code, *lines)

    def _answer(self, fault: SmtpFault | None, code: int, *lines: str) -> int:
        if fault is None:
            return self._write(code, *lines)
        if fault.code is None:
            raise _Gone
        return self._write(fault.code, fault.text)

    def _write(self, code: int, *lines: str) -> int:
        *first, last = lines or ("",)
        text = "".join(f"{code}-{line}\r\n" for line in first) + f"{code} {last}\r\n"
        self.request.sendall(text.encode("utf-8", "replace"))
        return code


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
