"""The words of a fault script, which are also the names of the endpoints."""

from __future__ import annotations

from typing import Literal

FaultKind = Literal[
    "error", "drop", "stall", "truncate", "garbage", "gateway", "lie", "reject", "redirect"
]
EndpointName = Literal[
    "list_apps", "get_app", "update_app", "list_keys", "get_key", "generate", "clone", "metadata",
    "activate", "deactivate", "organization",
]  # fmt: skip
When = Literal["before", "after"]  # the effect of the call
Lie = Literal["kid", "certificate", "thumbprint", "location"]
