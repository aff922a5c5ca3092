"""How a plan says that staged keys become active: `activate` of a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from orchestrator.plan.commands import AcknowledgeSpec, command_of
from orchestrator.plan.fields import (
    Budget,
    Share,
    Truth,
    enum_schema,
    percent_pattern,
    read_truth,
    word,
    word_of,
)
from orchestrator.plan.moments import After, BlackoutField, OneWindow, Wait, WindowField
from orchestrator.plan.part import (
    LIST_TAG,
    MAPPING_TAG,
    TEXT_TAG,
    PlanPart,
    list_or_text,
    mapping_or_text,
)
from orchestrator.plan.refusal import Refusal, refused
from orchestrator.rollout import Blackout, Gate, Inactive, Rollout, Size, Window

REMOVE = "remove the line: a gate asks for nothing that it does not name"


def read_acknowledged(value: object) -> Literal[True]:
    if not read_truth(value):
        raise refused("cannot be false", REMOVE)
    return True


def refuse_unreached(sizes: object) -> object:
    """Put a refusal in place of every wave after one that takes all targets."""
    if not isinstance(sizes, (list, tuple)):
        return sizes
    checked: list[object] = []
    takes_all = False
    for size in sizes:
        message = "is never reached: the wave before it takes all that is left"
        checked.append(Refusal(message, "let 100% be the last") if takes_all else size)
        takes_all = takes_all or is_all(size)
    return checked


def is_all(size: object) -> bool:
    if isinstance(size, str):
        return bool(percent_pattern.fullmatch(size)) and float(size[:-1]) == 100
    return isinstance(size, float) and size == 1


Windows: TypeAlias = Annotated[
    Annotated[OneWindow, Tag(TEXT_TAG)]
    | Annotated[tuple[WindowField, ...], Field(min_length=1), Tag(LIST_TAG)],
    Discriminator(list_or_text),
]
Acknowledged: TypeAlias = Annotated[
    Annotated[
        Literal[True],
        PlainValidator(read_acknowledged),
        WithJsonSchema({"const": True}),
        Tag(TEXT_TAG),
    ]
    | Annotated[AcknowledgeSpec, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]


Approval: TypeAlias = Annotated[
    Literal["each_wave"], PlainValidator(word("each_wave")), WithJsonSchema({"const": "each_wave"})
]


class GateSpec(PlanPart):
    """What must hold before a wave is activated: all that is named here."""

    place = "under activate.gate"
    after: Annotated[
        After | None,
        Field(
            description="A time since the last target of the wave was staged; or a date, from "
            "00:00 UTC; or a date and time with its offset."
        ),
    ] = None
    window: Annotated[
        Windows | None,
        Field(
            description="Days of the week, hours and time zone in which waves begin; or a list "
            "of such windows. Hours that cross midnight belong to the day on which they begin."
        ),
    ] = None
    blackout: Annotated[
        tuple[BlackoutField, ...],
        Field(
            description="Days on which no wave begins, in the time zone of the first window, "
            "else in UTC: 2026-11-27, or from first to last: 2026-12-24..2027-01-02."
        ),
    ] = ()
    acknowledged: Annotated[
        Acknowledged | None,
        Field(
            description="Every target must have been acknowledged: by people, with "
            "`okta-keys ack`; or by a command that exits 0 for a target that is ready."
        ),
    ] = None
    approval: Annotated[
        Approval | None,
        Field(description="People approve each wave, with `okta-keys approve`."),
    ] = None


class ActivateSpec(PlanPart):
    """How targets begin to sign with the staged key. With nothing in it: all at once."""

    place = "under activate"
    gate: Annotated[GateSpec, Field(description="What must hold before a wave is activated.")] = (
        GateSpec()
    )
    waves: Annotated[
        tuple[Budget, ...],
        Field(
            min_length=1,
            description="Sizes of the waves, as numbers or shares of all targets of the job. The "
            "last size repeats until all are active.",
            examples=[[1, "10%", "100%"]],
            json_schema_extra={"default": ["100%"]},
        ),
        BeforeValidator(refuse_unreached),
    ] = (Share(1.0),)
    pause: Annotated[
        Wait | None, Field(description="From the end of a wave to the beginning of the next.")
    ] = None
    stop_after_failures: Annotated[
        Budget,
        Field(description="Begin no further wave after this many failures in one, or this share."),
    ] = 1
    inactive: Annotated[
        Inactive,
        PlainValidator(word_of(Inactive)),
        enum_schema(Inactive),
        Field(description="What to do about targets that are deactivated."),
    ] = Inactive.SKIP
    source: Annotated[
        Truth,
        Field(
            description="The source too begins to sign with the key, as the last target of the "
            "job. Not with a key for each target: there is no source."
        ),
    ] = False


def rollout_of(spec: ActivateSpec, folder: Path) -> Rollout:
    """Return what the words of a plan mean; commands start from `folder`."""
    return Rollout(
        gate=gate_of(spec.gate, folder),
        waves=tuple(map(plain, spec.waves)),
        pause_seconds=spec.pause or 0.0,
        stop_after_failures=plain(spec.stop_after_failures),
        inactive=spec.inactive,
    )


def gate_of(spec: GateSpec, folder: Path) -> Gate:
    command = spec.acknowledged if isinstance(spec.acknowledged, AcknowledgeSpec) else None
    windows = spec.window or ()
    return Gate(
        after_seconds=None if isinstance(spec.after, datetime) else spec.after,
        not_before=spec.after if isinstance(spec.after, datetime) else None,
        windows=windows,
        blackout=tuple(in_zone(days, windows) for days in spec.blackout),
        acknowledged=spec.acknowledged is not None,
        acknowledge_by=command_of(command, folder) if command else None,
        approval=spec.approval is not None,
    )


def in_zone(days: Blackout, windows: tuple[Window, ...]) -> Blackout:
    return replace(days, zone=windows[0].zone) if windows else days


def plain(size: Size) -> Size:
    """Return a size without the type that only plans know."""
    return size if isinstance(size, int) else float(size)
