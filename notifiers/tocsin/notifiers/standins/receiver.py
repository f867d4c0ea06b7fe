"""A stand-in for the receiver of a signed webhook: it checks the signature and takes each `webhook-id` once."""

from datetime import UTC, datetime
from typing import Any, Final

from standardwebhooks import Webhook as Signer

from tocsin.notifiers.standins.loopback import Reply, Request, StandIn

SECRET: Final = "whsec_" + "c3RhbmQtaW4gb2YgdGhlIHdlYmhvb2sgcmVjZWl2ZXI="
_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


class WebhookStandIn(StandIn):
    """An endpoint on loopback; a notifier needs `allow_private=(stand_in.host,)` to reach it.

    `messages` has what was taken, `repeats` the ids that came again. The age of a signature is not checked, so that
    a test may set the clock.
    """

    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret
        self.messages: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.repeats: list[str] = []
        super().__init__()

    @property
    def url(self) -> str:
        """Where to post."""
        return f"{self.address}/hooks/tocsin"

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, for an allow-list."""
        return self.address.removeprefix("http://")

    def answer(self, request: Request) -> Reply:
        """Take one message."""
        missing = [name for name in _HEADERS if not request.headers.get(name)]
        if missing:
            self.violations.append(f"missing headers: {', '.join(missing)}")
            return Reply(400, "missing headers", "text/plain")
        if not self._signed(request):
            self.violations.append("the signature does not fit")
            return Reply(401, "bad signature", "text/plain")
        delivery = request.headers["webhook-id"]
        if delivery in self.ids:
            self.repeats.append(delivery)
        else:
            self.ids.append(delivery)
            self.messages.append(request.json())
        return Reply(204)

    def refuse(self, word: str, request: Request) -> Reply:
        """400 and the word."""
        return Reply(400, word, "text/plain")

    def _signed(self, request: Request) -> bool:
        at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
        expected = Signer(self.secret).sign(request.headers["webhook-id"], at, request.body.decode())
        return expected in request.headers["webhook-signature"].split(" ")
