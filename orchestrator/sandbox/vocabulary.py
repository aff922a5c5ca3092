"""The words of a fault script, which are also the names of the endpoints."""

from __future__ import annotations

from typing import Literal, get_args

FaultKind = Literal[
    "error", "drop", "stall", "truncate", "garbage", "gateway", "lie", "reject", "redirect",
    "edit", "collateral",
]  # fmt: skip
EndpointName = Literal[
    "list_apps", "get_app", "update_app", "list_keys", "get_key", "generate", "clone", "metadata",
    "activate", "deactivate", "organization",
    "list_csrs", "create_csr", "get_csr", "delete_csr", "publish_csr",
    "list_idps", "get_idp", "update_idp", "list_idp_keys", "active_idp_key", "get_idp_key",
    "generate_idp_key", "clone_idp_key",
    "list_idp_csrs", "create_idp_csr", "get_idp_csr", "delete_idp_csr", "publish_idp_csr",
    "list_logs", "list_principal_limits", "token",
]  # fmt: skip
When = Literal["before", "after"]  # the effect of the call
Lie = Literal["kid", "certificate", "thumbprint", "location", "echo"]
Edit = Literal["label", "kid", "revert"]  # what a concurrent editor does
Resource = Literal["app", "idp"]  # what holds signing keys
Role = Literal["admin", "read_only", "none"]  # what a caller may do, besides its scopes

ENDPOINT_NAMES: tuple[EndpointName, ...] = get_args(EndpointName)
CLONES: tuple[EndpointName, ...] = ("clone", "clone_idp_key")
UPDATES: tuple[EndpointName, ...] = ("update_app", "update_idp")
