"""What a service manager is told: ready, alive, stopping. Without one nothing is said (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Tell the service manager something, such as `READY=1`; a manager that does not listen is no fault of ours."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return
    place = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.sendto(state.encode(), place)
    except OSError:
        return
