"""What a host says to what it launched, and hears from it: small, rare, between trusted processes, so JSON.

To the zygote go datagrams (`{"open": 3}`; `{"answer": 4}` to learn that it lives), to each session's supervisor lines:

| host says | the supervisor does | and answers |
| --- | --- | --- |
| `{"do": "start", "limits": {...}}` | lets the guest confine itself | `started` with what is in force, or `refused` |
| `{"do": "go"}` | lets the guest have CPU | |
| `{"do": "halt"}` | takes it away | `halted` with usage |
| `{"do": "usage"}` | | `usage` |
| `{"do": "interrupt"}` | asks the block to stop (SIGINT) | |
| `{"do": "kill"}` | kills the guest (SIGKILL) | `ended`, as for any other end of the guest |
| `{"do": "checkpoint"}` | lets the guest fork once, and holds the child | `checkpointed` |
| `{"do": "forbid"}` | lets it fork no more | |
| `{"do": "restore", "nonce": "..."}` | puts the held child in the place of the dead guest | `restored` with usage |

`started` and `restored` bring the guest's pidfd where the stream is a socket of this machine; with it the host does the
signals itself, and reads usage from the kernel, which saves a block two switches to another process.
"""

from __future__ import annotations

import json
from typing import Final

__all__ = ["MAX_DATAGRAM", "NONCE_BYTES", "line", "parse"]

MAX_DATAGRAM: Final = 65536
NONCE_BYTES: Final = 32
"""What stands in the channel between the bytes of a dead guest and those of its successor."""


def line(**fields: object) -> bytes:
    """One message to or from a supervisor."""
    return json.dumps(fields).encode() + b"\n"


def parse(datagram: bytes) -> dict[str, object]:
    """Read a message."""
    message = json.loads(datagram)
    assert isinstance(message, dict)
    return message
