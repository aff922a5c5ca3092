"""A concurrent editor: somebody else who changes an app or IdP in the Admin Console meanwhile."""

from __future__ import annotations

from orchestrator.sandbox.changes import Watch
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.mint import DEFAULT_VALIDITY_YEARS
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.systemlog import Author
from orchestrator.sandbox.vocabulary import Edit

EDITED = " (edited)"


def edit(org: SandboxOrg, holder: KeyHolder, what: Edit) -> bool:
    """Make an edit in a request of its own; return whether there was something to edit.

    `label` changes the label or name. `kid` activates the key that it has held longest of those
    that are not active, or a new one. `revert` activates the key that was active before the last
    PUT. What does not sign has no key to edit.
    """
    by = org.in_the_console()
    if what == "label":
        watch = Watch(holder)
        holder.rename(holder.title + EDITED)
    else:
        kid = holder.previous_kid if what == "revert" else other_key(org, holder, by)
        if kid is None or kid == holder.active_kid:
            return False
        watch = Watch(holder)
        holder.choose(kid)
    holder.updated = org.epoch()
    org.note_update(holder, watch, by)
    return True


def other_key(org: SandboxOrg, holder: KeyHolder, by: Author) -> str | None:
    """Return a key to activate instead of the active one; made, where there is no other."""
    if not holder.signs:
        return None
    others = [kid for kid, _ in holder.memberships() if kid != holder.active_kid]
    if others:
        return others[0]
    return str(org.generate_key(holder.id, str(DEFAULT_VALIDITY_YEARS), by)["kid"])
