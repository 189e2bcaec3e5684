"""The loop of a session: a block in, its outcome out, tool calls in between."""

from __future__ import annotations

import contextlib
import gc
import io
import linecache
import os
import random
import signal
import sys
import threading
from typing import TYPE_CHECKING

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ToolError
from maia.sandbox.guest.checkpoint import BIRTH
from maia.sandbox.guest.images import to_host
from maia.sandbox.guest.names import session_names
from maia.sandbox.guest.policy import DEFAULT_IMPORTS, PolicyViolation, clean_traceback, compile_block, make_namespace
from maia.sandbox.protocol.frames import HEADER_BYTES, BlockingChannel, decode, encode
from maia.sandbox.protocol.values import decode_value, encode_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, FrameType

__all__ = ["Runner", "Stopped", "run"]

_SPARE_BYTES = 1 << 20
_TOUCHED_CHARS = 1 << 14  # some milliseconds

_TYPICAL = """
total = 0
names = {}
def twice(value, factor=2):
    return value * factor
for index, word in enumerate(["one", "two", "three"]):
    names[word] = twice(index)
    total += sum(number ** 2 for number in range(index))
squares = [f"{number:.2f}" for number in sorted(names.values()) if number != 1]
try:
    text = ", ".join(squares).upper()
except ValueError as error:
    text = str(error)
"""


class Stopped(BaseException):
    """Raised in a block that the host wants to stop. Not an Exception: `except Exception` is no reason to go on."""


def run(channel_fd: int, cradle_fd: int) -> None:
    """Serve one session, with standard output and errors in place, until the host closes it.

    Args:
        channel_fd: Frames to and from the host.
        cradle_fd: Where a checkpoint tells the supervisor of its birth, and sleeps until it is needed.
    """
    # One text stream for both, so that output and errors keep their order.
    stream = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
    sys.stdout = sys.stderr = stream
    runner = Runner(BlockingChannel(channel_fd, channel_fd), stream, cradle_fd)
    signal.signal(signal.SIGINT, runner.on_signal)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file over its size is an OSError
    try:
        runner.serve()
    except (EOFError, OSError):
        return  # the host has gone


class Runner:
    """One session's state: its namespace, its channel, and whether the host may stop it at this moment."""

    def __init__(self, channel: BlockingChannel, stream: io.TextIOBase, cradle_fd: int) -> None:
        """Nothing is read or run before `serve`.

        Args:
            channel: To the host.
            stream: Where blocks print; flushed before a block is reported as ended.
            cradle_fd: See `run`.
        """
        self._channel = channel
        self._stream = stream
        self._cradle_fd = cradle_fd
        self._namespace: dict[str, object] = {}
        self._restricted = True
        self._calls = 0
        self._calling = threading.Lock()
        self._armed = False
        self._shielded = False
        self._pending = False
        self._stopping = False
        self._spare: bytearray | None = None
        self._last_source = ""
        self._typical: CodeType | None = None

    def serve(self) -> None:
        """Answer frames until the channel ends.

        Raises:
            EOFError: The host closed the channel.
        """
        self._open(self._channel.receive(pb.HostFrame).open)
        self._channel.send(pb.GuestFrame(ready=pb.GuestReady()))
        while True:
            frame = self._channel.receive(pb.HostFrame)
            if frame.WhichOneof("kind") == "checkpoint":
                self._leave_checkpoint()
                continue
            ended = self._run(frame.run_block.block_id, frame.run_block.source)
            self._flush()
            self._channel.send(pb.GuestFrame(block_ended=ended))

    def _leave_checkpoint(self) -> None:
        """Fork. The child sleeps until this process has been killed, and then goes on in its place."""
        state = random.getstate()  # which the fork would seed anew
        try:
            made = os.fork()
        except OSError:  # the supervisor, or a limit, says no
            made = -1
        if made == 0:
            os.write(self._cradle_fd, BIRTH)
            if not os.read(self._cradle_fd, 16):
                os._exit(0)  # the session is over
            random.setstate(state)
        else:
            self._touch()
            self._channel.send(pb.GuestFrame(checkpointed=pb.Checkpointed(made=made > 0)))

    def _touch(self) -> None:
        """Write to the memory that every block writes to.

        The kernel copies a page when one of two processes first writes to it after a fork. Nobody waits for it now.
        """
        frame = pb.HostFrame(run_block=pb.RunBlock(block_id=1, source=self._last_source))
        source = decode(encode(frame)[HEADER_BYTES:], pb.HostFrame).run_block.source
        with contextlib.suppress(Exception):  # earlier blocks may have changed anything
            if self._typical is None:
                self._typical = compile_block(_TYPICAL, "<touch>", restricted=self._restricted)
            compile_block(source, "<touch>", restricted=self._restricted)  # the next one may well be like it
            exec(self._typical, {"__builtins__": self._namespace["__builtins__"]})  # noqa: S102  ours
        linecache.cache.pop("<touch>", None)

    def _open(self, request: pb.OpenSession) -> None:
        self._restricted = request.policy != pb.POLICY_OFF
        random.seed(request.seed)
        sys.modules["numpy"].random.seed(request.seed & 0xFFFFFFFF)
        constants = {name: decode_value(value) for name, value in sorted(request.constants.items())}
        specs = [(spec.name, spec.signature, spec.documentation) for spec in request.tools]
        self._namespace = make_namespace(
            session_names(specs, constants, self.call), restricted=self._restricted, allowed_imports=DEFAULT_IMPORTS
        )

    def _run(self, block_id: int, source: str) -> pb.GuestBlockEnded:
        if self._spare is None:
            self._spare = bytearray(_SPARE_BYTES)  # so that there is memory to report that there is none
        self._last_source = source if len(source) <= _TOUCHED_CHARS else ""
        status: pb.Status.ValueType = pb.STATUS_OK
        message = ""
        try:
            try:
                self._pending = self._stopping = False
                self._armed = True
                code = compile_block(source, f"<block {block_id}>", restricted=self._restricted)
                exec(code, self._namespace)  # noqa: S102  what this process is for
            finally:
                self._armed = False
        except BaseException as error:  # noqa: BLE001  whatever a block raises is its outcome
            if isinstance(error, MemoryError):
                self._spare = None
            status, message = _describe(error)
        if status == pb.STATUS_MEMORY:
            gc.collect()
        return pb.GuestBlockEnded(block_id=block_id, status=status, message=message)

    def _flush(self) -> None:
        for stream in {sys.stdout, self._stream}:
            with contextlib.suppress(Exception):  # a block may have put anything there, or closed it
                stream.flush()

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Stop the block, now or as soon as the frame on its way is whole."""
        if not self._armed or self._stopping:
            return
        if self._shielded:
            self._pending = True
            return
        self._stopping = True
        raise Stopped

    def call(self, name: str, arguments: Sequence[object], keywords: Mapping[str, object]) -> object:
        """Call a tool outside and wait for its result.

        Raises:
            ToolError: The tool says so, or another call is in progress.
            TypeError: An argument of a type that cannot be passed.
        """
        if not self._calling.acquire(blocking=False):
            raise ToolError(f"{name}: another tool call is in progress; call tools one after another")
        try:
            return self._exchange(name, arguments, keywords)
        finally:
            self._calling.release()

    def _exchange(self, name: str, arguments: Sequence[object], keywords: Mapping[str, object]) -> object:
        sent, named = encode_call(arguments, keywords, convert=to_host)
        request = pb.ToolCall(call_id=self._calls + 1, name=name, arguments=sent, keywords=named)
        self._flush()  # a print without a newline stands before what the tool shows
        result = self._shielded_exchange(pb.GuestFrame(tool_call=request))
        if self._pending:
            self._stopping = True
            raise Stopped
        if result.WhichOneof("kind") == "error":
            raise ToolError(result.error)
        return decode_value(result.value)

    def _shielded_exchange(self, frame: pb.GuestFrame) -> pb.ToolResult:
        """Send and receive without being stopped halfway through a frame; signals reach the main thread only."""
        main = threading.current_thread() is threading.main_thread()
        if main:
            self._shielded = True
        try:
            self._channel.send(frame)
            self._calls += 1
            return self._channel.receive(pb.HostFrame).tool_result
        finally:
            if main:
                self._shielded = False


def _describe(error: BaseException) -> tuple[pb.Status.ValueType, str]:
    """Status and text of a block's failure."""
    if isinstance(error, Stopped):
        return pb.STATUS_INTERRUPTED, clean_traceback(error)
    if isinstance(error, MemoryError):
        text = clean_traceback(error)
        error.__traceback__ = None  # its frames hold what filled the memory
        return pb.STATUS_MEMORY, text
    if isinstance(error, PolicyViolation):
        return pb.STATUS_POLICY, str(error)
    return pb.STATUS_EXCEPTION, clean_traceback(error)
