"""The terminal of whoever runs the process: one line of stderr for each line of a message."""

import sys
from datetime import datetime

from kobe.core.messages import Message
from kobe.infra.channels.kit import DELIVERED, ChannelKit, Fate, Part, Reply
from kobe.infra.channels.text import whole


class ConsoleChannel:
    """Writes to stderr, which belongs to people; stdout belongs to data."""

    idempotent = False

    def __init__(self, kit: ChannelKit) -> None:
        """It needs nothing."""
        del kit

    @property
    def lacks(self) -> str:
        """Nothing is missing, ever."""
        return ""

    def parts(self, message: Message) -> tuple[Part, ...]:
        """Write the message whole."""
        return whole(message)

    def send(self, part: Part, instant: datetime) -> Reply:
        """Write the text with its hour; control characters cannot forge a line or move the cursor."""
        picture = f"\n[picture: {part.message.picture_alt}]" if part.with_picture else ""
        first, *rest = (part.text + picture).split("\n")
        lines = [f"{instant:%Y-%m-%d %H:%M:%SZ} {first}", *(f"    {line}" for line in rest)]
        shown = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines]
        try:
            sys.stderr.write("\n".join(shown) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError) as error:
            return Reply(fate=Fate.AGAIN, why=f"stderr takes nothing ({type(error).__name__})")
        return DELIVERED
