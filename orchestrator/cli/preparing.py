"""Prepare an execution: the way to the org, the store, the targets, and the run they belong to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial

from orchestrator.cli.belts import check_expected, keys_looked_up, refusals
from orchestrator.cli.bounds import chosen_targets
from orchestrator.cli.choosing import certificates_of, choose, count_signing, is_bare_sandbox
from orchestrator.cli.opening import (
    OpenedRun,
    continue_or_create,
    create,
    forget_old,
    made_keys,
    new_run,
    this_session,
)
from orchestrator.cli.options import Execution
from orchestrator.cli.wiring import read_faults, sandbox_for
from orchestrator.errors import StateError, StateUnusable
from orchestrator.okta.api import OktaApi
from orchestrator.plan.fields import Share
from orchestrator.sandbox.copies import copied, read_inventory
from orchestrator.settings.access import OrgAccess, org_access
from orchestrator.settings.environment import timeouts
from orchestrator.settings.secret_commands import aside
from orchestrator.store.base import JobRecord
from orchestrator.store.lock import RunLock
from orchestrator.store.sqlite import FILE_NAME, Store


async def way_to_org(execution: Execution, stack: AsyncExitStack) -> OrgAccess:
    """Return where the org is; a sandbox is served as long as the stack is open."""
    options = execution.options
    if not options.sandbox:
        find = partial(
            org_access, execution.plan, os.environ, profile=options.profile, config=options.config
        )
        return await aside(find)
    copy = None
    if options.copy_of is not None:
        inventory = read_inventory(options.copy_of)
        copy = copied(inventory, file=str(options.copy_of))
        if not inventory.has_other_keys:
            told = "the copy has no keys but those in use: others need `inventory --all-keys`"
            execution.screen.show_notices([told])
    faults, bounds = read_faults(options.faults), timeouts(os.environ)
    served = sandbox_for(execution.asked, faults, org=copy, bounds=bounds)
    return await stack.enter_async_context(served)


@contextmanager
def told_before_calls() -> Iterator[None]:
    """Say of a journal that cannot be written that nothing was called."""
    try:
        yield
    except StateUnusable:
        raise
    except StateError as error:
        raise StateUnusable(error.message, hint=error.hint, **error.context) from error


@asynccontextmanager
async def open_store(execution: Execution, org: str) -> AsyncIterator[Store]:
    """Open the store, and hold the plan's lock where the run is to be remembered."""
    options, clock = execution.options, execution.clock
    if not options.is_durable:
        with Store.memory(clock=clock) as store:
            yield store
        return
    folder = execution.state_folder
    lock = RunLock(folder, execution.plan.name, org, session=this_session(), clock=clock)
    with Store.open(folder / FILE_NAME, clock=clock) as store:
        await lock.take(patience_seconds=options.lock_timeout)
        try:
            yield store
        finally:
            lock.free()


def remembering(execution: Execution, store: Store, stack: AsyncExitStack) -> Store:
    """Return the store that remembers the plan's runs: a preview looks into it as well."""
    options, path = execution.options, execution.state_folder / FILE_NAME
    if options.is_durable or options.sandbox or not path.exists():
        return store
    return stack.enter_context(Store.open(path, clock=execution.clock))


async def with_targets(
    execution: Execution, access: OrgAccess, memory: Store, api: OktaApi
) -> Execution:
    """Return the execution with its targets, if nothing speaks against them.

    Raises:
        SafetyError: a belt does, and it is no preview, which only tells.
    """
    options = execution.options
    if options.dry_run and not options.quick:
        book = await certificates_of(api, access.url, memory)
        execution = replace(execution, book=book)
    chosen = await choose(execution, access.url, memory, api)
    execution.screen.show_notices(chosen.notices)
    if execution.is_open:
        execution = replace(execution, only=chosen_targets(options.targets, chosen.jobs))
    execution = replace(execution, jobs=chosen.jobs, signing=chosen.signing)
    hold_against_belts(execution, access)
    return execution


def hold_against_belts(execution: Execution, access: OrgAccess) -> None:
    """Refuse what the belts refuse; a preview only tells.

    Raises:
        SafetyError: a run is refused.
    """
    for error in refusals(execution, access.protected):
        if not execution.options.dry_run:
            raise error
        execution.screen.show_notices([f"a run would be refused: {error.message}"])


async def hold_share_against_belts(
    execution: Execution, access: OrgAccess, store: Store, api: OktaApi
) -> None:
    """Count what signs in the org, where a percentage is of that and a run goes on.

    Raises:
        SafetyError: the run is refused.
    """
    is_share = isinstance(execution.plan.limits.max_changes, Share)
    if is_share and execution.signing is None and not is_bare_sandbox(execution):
        signing = await count_signing(execution, api, store.certificates(access.url))
        hold_against_belts(replace(execution, signing=signing), access)


async def known_keys(
    execution: Execution, org: str, memory: Store, api: OktaApi
) -> Mapping[str, JobRecord]:
    """Return the jobs whose key is known already, though the plan does not name its kid.

    With `--expect` keys are looked up before anything is begun, and held against the checksum.

    Raises:
        SafetyError: the plan would do something else than expected.
    """
    options = execution.options
    known: Mapping[str, JobRecord] = {}
    if not options.fresh:
        known = made_keys(memory, execution.plan.name, org, execution.jobs)
    if options.expect is None:
        return known if options.dry_run else {}
    found = await keys_looked_up(api, execution.jobs, known)
    check_expected(execution, org, found)
    return found


def open_run(
    execution: Execution, store: Store, org: str, known: Mapping[str, JobRecord]
) -> OpenedRun:
    options, jobs, session = execution.options, execution.jobs, this_session()
    new = new_run(
        execution.run_id,
        execution.plan.name,
        org,
        execution.asked,
        dry_run=options.dry_run,
        plan_file=str(options.plan.absolute()),
    )
    if options.is_durable:
        forget_old(store, now=execution.clock.wall(), environ=os.environ)
    if options.fresh or not options.is_durable:
        return create(store, new, jobs, session, known=known)
    return continue_or_create(store, new, jobs, session, known)
