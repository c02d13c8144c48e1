"""Mail by SMTP, encrypted, with the picture attached and told in words."""

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from kobe.core.ids import digest
from kobe.core.messages import Message
from kobe.infra.channels.kit import DELIVERED, ChannelKit, Fate, Part, Reply
from kobe.infra.channels.text import one_line, whole
from kobe.infra.channels.wire import LOOPBACK

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

_SENT = "sent"


class MailChannel:
    """Hands messages to one mail server.

    Its Message-ID is the same at every try, but few servers drop a repetition: it does not count as idempotent.
    """

    idempotent = False

    def __init__(self, kit: ChannelKit) -> None:
        """Nothing is sent until `send`."""
        self._kit = kit

    @property
    def lacks(self) -> str:
        """What must be set first; only a server of this machine may be spoken to in the clear or without a password."""
        kit = self._kit
        missing = kit.missing(host=kit.host, sender=kit.sender, to=kit.to)
        if missing or kit.host in LOOPBACK:
            return missing.replace("sender", "from")
        if kit.security == "none":
            return "security = none is for a server of this machine; use starttls or ssl"
        return kit.missing(secret=kit.secret) if kit.user else ""

    def parts(self, message: Message) -> tuple[Part, ...]:
        """Send the message whole."""
        return whole(message)

    def send(self, part: Part, instant: datetime) -> Reply:
        """Send one mail to every reader; up to its content nothing has left, afterwards nobody knows."""
        import smtplib

        step = "not reached"
        server: smtplib.SMTP | None = None
        try:
            server = self._connected()
            step = "not signed in"
            if self._kit.secret:
                server.login(self._kit.user or self._kit.sender, self._kit.secret)
            step = "not taken"
            refused = _addressed(server, self._kit)
            if refused is not None:
                return refused
            step = _SENT
            return _judged(*server.data(written(part, self._kit, instant).as_bytes()))
        except smtplib.SMTPResponseException as error:
            return _judged(error.smtp_code, error.smtp_error)
        except smtplib.SMTPNotSupportedError as error:
            return Reply(fate=Fate.NEVER, why=f"{step}: {one_line(str(error))}")
        except (smtplib.SMTPException, OSError) as error:
            if step == _SENT:
                return Reply(fate=Fate.UNKNOWN, why=f"{_SENT}, and the answer was lost ({type(error).__name__})")
            return Reply(fate=Fate.AGAIN, why=f"{step} ({type(error).__name__})")
        finally:
            _part_from(server)

    def _connected(self) -> "smtplib.SMTP":
        import smtplib
        import ssl

        kit, timeout_s = self._kit, self._kit.timeouts[1]
        if kit.security == "ssl":
            return smtplib.SMTP_SSL(kit.host, kit.port, timeout=timeout_s, context=ssl.create_default_context())
        server = smtplib.SMTP(kit.host, kit.port, timeout=timeout_s)
        try:
            if kit.security == "starttls":
                server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
        return server


def written(part: Part, kit: ChannelKit, instant: datetime) -> "EmailMessage":
    """Return a part as a mail."""
    from email.message import EmailMessage
    from email.utils import format_datetime

    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = one_line(part.heading, 300), kit.sender, ", ".join(kit.to)
    mail["Date"], mail["Message-ID"] = format_datetime(instant), f"<{digest(part.key)[:32]}@kobe.invalid>"
    picture, alt = part.message.picture, one_line(part.message.picture_alt, 900)
    told = [part.text, *([f"[picture: {alt}]"] if part.with_picture else [])]
    mail.set_content("\n".join(told) + "\n")
    if part.with_picture and picture:
        mail.add_attachment(picture, maintype="image", subtype="png", filename="picture.png")
        mail.get_payload()[-1]["Content-Description"] = alt  # type: ignore[index]
    return mail


def _addressed(server: "smtplib.SMTP", kit: ChannelKit) -> Reply | None:
    """Name sender and readers; returns a reply where the server takes one of them not."""
    for code, said in (server.mail(kit.sender), *(server.rcpt(reader) for reader in kit.to)):
        if code not in {250, 251}:
            return _judged(code, said)
    return None


def _judged(code: int, said: bytes | str) -> Reply:
    """Class an answer: 4xx says later, 5xx says never; a reply cut off is none."""
    why = f"code {code}: {one_line(said.decode(errors='replace') if isinstance(said, bytes) else said)}"
    if code == 250:
        return DELIVERED
    if code < 0:
        return Reply(fate=Fate.UNKNOWN, why="sent, and the answer was lost")
    return Reply(fate=Fate.AGAIN if code < 500 else Fate.NEVER, why=why)


def _part_from(server: "smtplib.SMTP | None") -> None:
    """Say good-bye; whatever goes wrong now changes nothing about the mail."""
    import smtplib

    if server is not None:
        with suppress(smtplib.SMTPException, OSError):
            server.quit()
        server.close()
