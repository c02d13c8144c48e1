"""A loopback mail server: takes mail, or refuses it at a step, or drops the line after it took it."""

import socketserver
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Self


@dataclass
class MailServer:
    """`faults`, one for each connection: "" takes; "RCPT 550", "DATA 451", "END 554" answer so; "END drop" hangs up."""

    faults: list[str] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.talk(self)

        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._tcp.daemon_threads = True
        self._thread = threading.Thread(target=self._tcp.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tcp.shutdown()
        self._tcp.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._tcp.server_address[1]

    def talk(self, line: socketserver.StreamRequestHandler) -> None:
        """Serve one connection."""
        step, _, answer = (self.faults.pop(0) if self.faults else "").partition(" ")
        say = lambda text: line.wfile.write(f"{text}\r\n".encode())  # noqa: E731
        say("220 here")
        while asked := line.rfile.readline().decode().strip():
            verb = asked[:4].upper()
            if verb == "QUIT":
                say("221 bye")
                return
            if verb == step:
                say(f"{answer} no")
            elif verb == "DATA":
                say("354 go on")
                content = self._content(line)
                if step == "END" and answer != "drop":
                    say(f"{answer} no")
                    continue
                self.mails.append(message_from_bytes(content, policy=policy.default))
                if step == "END":
                    return
                say("250 taken")
            else:
                self.readers += [asked] if verb == "RCPT" else []
                say("250 ok")

    def _content(self, line: socketserver.StreamRequestHandler) -> bytes:
        content = b""
        while (piece := line.rfile.readline()) != b".\r\n":
            content += piece[1:] if piece.startswith(b"..") else piece
        return content
