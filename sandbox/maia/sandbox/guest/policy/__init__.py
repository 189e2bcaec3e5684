"""The language policy: what a block of guest code may say, checked before and while it runs.

It is a linter that answers early and in one readable sentence, not a boundary: with NumPy, Pillow and the standard
library in reach, determined code gets around any check made in Python. What holds is the kernel's isolation of the
process, and every attack must fail with the policy off too.

How a runner uses it, once per session and then once per block::

    namespace = make_namespace({"np": numpy, "tools": tools}, restricted=True, allowed_imports=DEFAULT_IMPORTS)
    try:
        code = compile_block(source, "<block 1>", restricted=True)  # PolicyViolation, SyntaxError
        exec(code, namespace)                                       # PolicyViolation, whatever the block raises
    except BaseException as error:
        text = clean_traceback(error)                               # frames of "<block N>" only

A few rules need a value and not only the text (a name given to `getattr`, a module reached through another, an import
outside the list, `open`): these raise `PolicyViolation` while the block runs, so a runner catches it around both calls.
A refused import is an `ImportError` as well, so `try: import cv2 / except ImportError:` works as its author means.

With ``restricted=False`` (`--policy off`) blocks are plain Python with the real builtins.

`names` says which names are refused and why; `transformer` applies that to the text, `guards` to values, `imports` to
modules; `builtin_names` and `namespace` build the globals; `compilation` and `tracebacks` are the two ends.
"""

from maia.sandbox.guest.policy.compilation import compile_block
from maia.sandbox.guest.policy.imports import DEFAULT_IMPORTS
from maia.sandbox.guest.policy.namespace import make_namespace
from maia.sandbox.guest.policy.tracebacks import clean_traceback
from maia.sandbox.guest.policy.violation import BLOCK_PREFIX, PolicyViolation

__all__ = [
    "BLOCK_PREFIX",
    "DEFAULT_IMPORTS",
    "PolicyViolation",
    "clean_traceback",
    "compile_block",
    "make_namespace",
]
