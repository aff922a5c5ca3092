"""From YAML text to placed data, over the event stream of the parser.

Events cost a seventh of the time of loading and a quarter of its memory. Nothing is resolved: a
plain scalar keeps its text (see fields.py), except that nothing, `~` and `null` become EMPTY. Tags,
merge keys, duplicate keys and unknown aliases are problems; an alias shares the node it names, and
how far aliases expand is bounded, as are depth and size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from orchestrator.errors import PlanError, Problem
from orchestrator.plan.refusal import ALREADY_SAID, EMPTY
from orchestrator.plan.tree import (
    Place,
    PlacedList,
    PlacedMap,
    Quoted,
    Step,
    pack,
    path_text,
    unpack,
)
from orchestrator.plan.yaml_syntax import syntax_problem

MAX_DEPTH = 32
MAX_NODES = 500_000  # counted with what aliases stand for
MAX_ALIASED = 100_000  # of these, what aliases stand for
MANY_APPS = "list many apps in a CSV file: - file: targets.csv"
NULLS = frozenset({"", "~", "null", "Null", "NULL"})

PARSER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(slots=True)
class Frame:
    """A mapping or sequence whose end has not been reached."""

    node: PlacedMap | PlacedList
    anchor: str | None
    first_count: int  # nodes read before this one
    height: int = 1  # levels of nesting, itself included
    key: str | None = None  # of the value that comes next
    key_mark: int = 0
    drops: bool = False  # the value that comes next has no place to go

    def steps(self) -> tuple[Step, ...]:
        """Return the way from this node to the value that comes next."""
        if isinstance(self.node, PlacedList):
            return (len(self.node),)
        return () if self.key is None else (self.key,)


@dataclass(frozen=True, slots=True)
class Anchored:
    """A node that aliases may name, and what each of them costs."""

    node: object
    nodes: int
    height: int


class TreeBuilder:
    """Builds placed data from events and notes what is wrong with their order and kind."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: object = EMPTY
        self.root_mark = 0
        self.problems: list[Problem] = []
        self.frames: list[Frame] = []
        self.anchors: dict[str, Anchored | None] = {}  # None while its node is open
        self.count = 0
        self.aliased = 0
        self.documents = 0

    def take(self, event: Event) -> bool:
        """Add an event. Returns False when the rest is not worth reading."""
        if isinstance(event, ScalarEvent):
            self.scalar(event)
        elif isinstance(event, CollectionStartEvent):
            self.start(event)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self.end()
        elif isinstance(event, AliasEvent):
            self.alias(event)
        elif isinstance(event, DocumentStartEvent):
            return self.document(event)
        return True

    def document(self, event: DocumentStartEvent) -> bool:
        self.documents += 1
        if self.documents == 2:
            hint = "a file is one document: remove --- and what follows, or make it a file"
            self.note(mark_of(event), "a second document starts here", hint)
        return self.documents < 2

    def scalar(self, event: ScalarEvent) -> None:
        mark = mark_of(event)
        self.spend(1, mark)
        frame = self.frames[-1] if self.frames else None
        is_plain = bool(event.implicit[0])
        if frame and frame.key is None and isinstance(frame.node, PlacedMap):
            self.key(frame, event, mark, is_plain=is_plain)
            return
        value: object = event.value if is_plain else Quoted(event.value)
        if is_plain and event.value in NULLS:
            value = EMPTY
            mark = frame.key_mark if frame and frame.key is not None else mark
        if event.tag is not None:
            value = self.refuse_tag(mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = Anchored(value, 1, 0)
        self.add(value, mark)

    def key(self, frame: Frame, event: ScalarEvent, mark: int, *, is_plain: bool) -> None:
        frame.key, frame.key_mark, frame.drops = event.value, mark, True
        if event.tag is not None:
            self.refuse_tag(mark)
        elif is_plain and event.value == "<<":
            self.note(mark, "merge keys are not supported", "write the keys out")
        elif is_plain and event.value in NULLS:
            self.note(mark, "a key must be a word", "is something missing before the colon?")
        elif event.value in frame.node:
            first = unpack(frame.node.marks[event.value][0])  # type: ignore[call-overload] # a map
            where = f"line {first.line}, column {first.column}"
            self.note(mark, f"this key is already given on {where}", "keep one of the two")
        else:
            frame.drops = False
            if event.anchor is not None:
                self.anchors[event.anchor] = Anchored(event.value, 1, 0)

    def start(self, event: CollectionStartEvent) -> None:
        mark = mark_of(event)
        self.spend(1, mark)
        if len(self.frames) == MAX_DEPTH:
            self.stop(mark, f"nested deeper than {MAX_DEPTH} levels", "six or so are enough")
        self.refuse_at_key(mark)
        if event.tag is not None:
            self.refuse_tag(mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        is_map = isinstance(event, MappingStartEvent)
        node = PlacedMap(mark) if is_map else PlacedList(mark)
        self.frames.append(Frame(node, event.anchor, self.count - 1))

    def end(self) -> None:
        frame = self.frames.pop()
        if frame.anchor is not None:
            nodes = self.count - frame.first_count
            self.anchors[frame.anchor] = Anchored(frame.node, nodes, frame.height)
        self.rise(frame.height)
        self.add(frame.node, frame.node.mark)

    def alias(self, event: AliasEvent) -> None:
        mark = mark_of(event)
        self.refuse_at_key(mark)
        name = event.anchor or ""
        anchored = self.anchors.get(name)
        self.spend(1, mark)
        if anchored is None:
            inside = name in self.anchors
            text = "refers to what it stands in" if inside else "refers to nothing before it"
            self.note(mark, f"this alias {text}", "write the value out")
            self.add(ALREADY_SAID, mark)
            return
        self.aliased += anchored.nodes
        if self.aliased > MAX_ALIASED:
            message = f"aliases stand for more than {MAX_ALIASED:,} values up to here"
            self.stop(mark, message, "write the values out")
        self.spend(anchored.nodes - 1, mark)
        if len(self.frames) + anchored.height > MAX_DEPTH:
            self.stop(mark, f"nested deeper than {MAX_DEPTH} levels", "write the value out")
        self.rise(anchored.height)
        self.add(anchored.node, mark)

    def refuse_at_key(self, mark: int) -> None:
        """Stop when what begins here is the key of a mapping, which must be a word."""
        frame = self.frames[-1] if self.frames else None
        if frame and frame.key is None and isinstance(frame.node, PlacedMap):
            self.stop(mark, "a key must be a word", "quote a value that starts with { or [ or *")

    def add(self, value: object, mark: int) -> None:
        """Put a finished node where it belongs."""
        if not self.frames:
            self.root, self.root_mark = value, mark
            return
        frame = self.frames[-1]
        node = frame.node
        if isinstance(node, PlacedList):
            node.append(value)
            node.marks.append(mark)
            return
        if not frame.drops and frame.key is not None:
            node[frame.key] = value
            node.marks[frame.key] = (frame.key_mark, mark)
        frame.key = None

    def rise(self, height: int) -> None:
        if self.frames:
            self.frames[-1].height = max(self.frames[-1].height, height + 1)

    def spend(self, nodes: int, mark: int) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            self.stop(mark, f"holds more than {MAX_NODES:,} values up to here", MANY_APPS)

    def refuse_tag(self, mark: int) -> object:
        self.note(mark, "tags are not supported", "remove the word that starts with !")
        return ALREADY_SAID

    def note(self, mark: int, message: str, hint: str) -> None:
        place = unpack(mark)
        path = path_text([step for frame in self.frames for step in frame.steps()])
        self.problems.append(
            Problem(
                file=self.file,
                line=place.line,
                column=place.column,
                path=path,
                message=message,
                hint=hint,
            )
        )

    def stop(self, mark: int, message: str, hint: str) -> NoReturn:
        self.note(mark, message, hint)
        raise PlanError(self.problems)


def mark_of(event: Event) -> int:
    mark = event.start_mark
    return pack(mark.line, mark.column) if mark else 0


class YamlTree(NamedTuple):
    """The one document of a YAML file."""

    root: object
    place: Place  # of the root
    problems: list[Problem]  # what is wrong with it as YAML


def read_tree(text: str, file: str) -> YamlTree:
    """Return the placed data of a YAML text.

    Raises:
        PlanError: the text cannot be understood from some place on.
    """
    builder = TreeBuilder(file)
    parser = PARSER(text)
    try:
        while (event := parser.get_event()) is not None and builder.take(event):
            pass
    except yaml.YAMLError as error:
        broken = syntax_problem(error, text, file)
    else:
        return YamlTree(builder.root, unpack(builder.root_mark), builder.problems)
    finally:
        parser.dispose()
    raise PlanError([*builder.problems, broken])
