"""The events of one unit's journal: everything that a report, a replay or a resumed run needs to know.

Values inside an event are plain JSON. Pictures are named by the SHA-256 of their bytes and lie as files beside the
journal. Times are seconds; `at` is seconds of work on the run, by the monotonic clock: while it rested, it stood still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", frozen=True)


@dataclass(config=_STRICT, slots=True)
class UnitName:
    """Which unit of which subject."""

    model: str
    layer: str
    index: int

    def __str__(self) -> str:
        return f"{self.model} {self.layer}:{self.index}"


@dataclass(config=_STRICT, slots=True)
class TextPart:
    """Text that the backbone or a reader of the report sees."""

    text: str


@dataclass(config=_STRICT, slots=True)
class PicturePart:
    """A picture by the hash of its bytes, and the reference that the agent's code knew it by."""

    sha256: str
    media_type: str
    width: int
    height: int
    image_id: str = ""


PartEvent = TextPart | PicturePart

Why = Literal["task", "results", "no_code", "empty_reply", "cut_block", "format", "final"]
"""Why a message went to the backbone; all but "task" and "results" answer a reply that lacked something."""


@dataclass(config=_STRICT, slots=True)
class RunStarted:
    """First event. `config` is the whole configuration without secrets; `servers` their names and revisions.

    `question` is a user's, of the tasks that take one; `form` is what the task ends with, empty in old journals.

    `sandbox` has the tier, the policy, and the features: what the tier enforced on that machine, and what it did not.
    """

    unit: UnitName
    agent: str
    task: str
    seed: int
    started_at: str
    versions: Mapping[str, str]
    servers: Mapping[str, str]
    sandbox: Mapping[str, Any]
    config: Mapping[str, Any]
    system_prompt: str
    question: str = ""
    form: str = ""
    at: float = 0.0
    kind: Literal["run_started"] = "run_started"


@dataclass(config=_STRICT, slots=True)
class Resumed:
    """A later process goes on with the run.

    Of the events before it, only the first `keeps` stand, counted without those that an earlier one of this kind made
    void. What is void is of a block that was cut short and runs once more, or says how the run had stopped. No reply is
    ever void. `round` is that of the last reply that stands.
    """

    keeps: int
    round: int
    resumed_at: str
    versions: Mapping[str, str]
    at: float = 0.0
    kind: Literal["resumed"] = "resumed"


@dataclass(config=_STRICT, slots=True)
class UserMessage:
    """What the backbone is shown next, and why: the task, results, or a reminder of what a reply lacked.

    `budget` says that the agent was told here that its budget is nearly spent, or is spent, so that it must conclude.
    """

    round: int
    why: Why
    parts: list[PartEvent]
    budget: Literal["", "near", "spent"] = ""
    at: float = 0.0
    kind: Literal["user_message"] = "user_message"


@dataclass(config=_STRICT, slots=True)
class BackboneReply:
    """What the backbone wrote, as it came, and what it cost in US dollars, None where the price is not known."""

    round: int
    text: str
    model: str
    seconds: float
    usage: Mapping[str, int] = field(default_factory=dict)
    stop_reason: str = ""
    usd: float | None = None
    at: float = 0.0
    kind: Literal["reply"] = "reply"


@dataclass(config=_STRICT, slots=True)
class BlockStarted:
    """A code block begins; blocks are numbered from 1 through the whole run."""

    round: int
    block: int
    code: str
    at: float = 0.0
    kind: Literal["block_started"] = "block_started"


@dataclass(config=_STRICT, slots=True)
class ImageAdded:
    """An image entered the session's image table.

    `source` says how it came to be, for example {"tool": "tools.text2image", "prompt": …, "seed": …}; of an image that
    code made, "pixels" is the hash by which the same pixels are known again. A masked view has
    `view_of`, the id of its original, and `view` with the unit, activation, threshold, where the threshold came
    from ("exemplars" or "map"), frame [left, top, right, bottom] and the map {"height", "width", "values": base64}.
    It has a `sha256` only once it was composed; then another event of the same id carries it.
    """

    image_id: str
    width: int
    height: int
    sha256: str = ""
    media_type: str = ""
    view_of: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0
    kind: Literal["image"] = "image"


@dataclass(config=_STRICT, slots=True)
class ToolCalled:
    """A block calls a tool; calls are numbered from 1 through the whole run.

    `arguments` is for readers: JSON with images as {"image": id}. `digest` identifies name and arguments for replay.
    """

    block: int
    call: int
    tool: str
    arguments: Any
    digest: str
    at: float = 0.0
    kind: Literal["tool_called"] = "tool_called"


@dataclass(config=_STRICT, slots=True)
class ToolReturned:
    """The answer to a call. `error` is the text of the ToolError that the code saw; else `result` is for readers.

    `value` is the answer exactly as the guest got it: the serialised maia.execution.v1.Value in base64, which is what
    answers the same call of a resumed run.
    """

    call: int
    seconds: float
    result: Any = None
    error: str = ""
    value: str = ""
    warnings: list[str] = field(default_factory=list)
    attempts: int = 1
    at: float = 0.0
    kind: Literal["tool_returned"] = "tool_returned"


@dataclass(config=_STRICT, slots=True)
class DescriberReply:
    """What a backbone answered that describes and summarises for the tools: one request of tool call `call`.

    `index` numbers the call's requests, `digest` identifies what was asked, so that it is not paid for twice.
    """

    call: int
    index: int
    digest: str
    text: str
    model: str
    seconds: float
    pictures: int = 0
    usage: Mapping[str, int] = field(default_factory=dict)
    stop_reason: str = ""
    usd: float | None = None
    at: float = 0.0
    kind: Literal["describer_reply"] = "describer_reply"


@dataclass(config=_STRICT, slots=True)
class Displayed:
    """A block displayed something with tools.display."""

    block: int
    parts: list[PartEvent]
    at: float = 0.0
    kind: Literal["displayed"] = "displayed"


@dataclass(config=_STRICT, slots=True)
class BlockOutput:
    """A piece of standard output or error, in order with the block's tool calls."""

    block: int
    text: str
    at: float = 0.0
    kind: Literal["output"] = "output"


@dataclass(config=_STRICT, slots=True)
class BlockEnded:
    """How a block ended: the sandbox's outcome. `message` is what the backbone was shown of it, with any traceback."""

    block: int
    status: str
    message: str
    state: str
    usage: Mapping[str, float]
    at: float = 0.0
    kind: Literal["block_ended"] = "block_ended"


@dataclass(config=_STRICT, slots=True)
class Finished:
    """The agent concluded, or did not within its rounds. Nothing follows.

    `answer` is what `maia.orchestrator.answers.answer_to_json` makes of the conclusion; empty without one, and in
    journals from before there were other tasks than to describe. Then `description` and `labels` are all of it.

    `usage` sums the tokens of all replies, `usd` what they cost, None where a price is not known.
    """

    how: Literal["concluded", "no_conclusion"]
    description: str
    labels: list[str]
    rounds: int
    tool_calls: int
    seconds: float
    answer: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, int] = field(default_factory=dict)
    usd: float | None = None
    at: float = 0.0
    kind: Literal["finished"] = "finished"


@dataclass(config=_STRICT, slots=True)
class Stopped:
    """The run stopped without a finding, and can go on from here. Never evidence about the unit.

    "interrupted": the command was stopped at once. "paused": the user asked for it, or something failed that asking
    later may mend. "invalid": anything else, such as a key refused or a fault of ours. "failed" is what earlier
    versions wrote for the last two.
    """

    why: Literal["interrupted", "paused", "invalid", "failed"]
    reason: str
    message: str
    at: float = 0.0
    kind: Literal["stopped"] = "stopped"


Event = Annotated[
    RunStarted
    | Resumed
    | UserMessage
    | BackboneReply
    | BlockStarted
    | ImageAdded
    | ToolCalled
    | ToolReturned
    | DescriberReply
    | Displayed
    | BlockOutput
    | BlockEnded
    | Finished
    | Stopped,
    Field(discriminator="kind"),
]

event_adapter: TypeAdapter[Event] = TypeAdapter(Event)
