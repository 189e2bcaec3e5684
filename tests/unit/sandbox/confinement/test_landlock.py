"""Landlock in a process of its own: what is left, what is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maia.sandbox.confinement.landlock import supported_abi

PROGRAM = """
import errno, json, os, socket, sys
from maia.sandbox.confinement import kernel
from maia.sandbox.confinement.landlock import restrict
readable, writable, listed, outside = sys.argv[1:]
kernel.prctl("no new privileges", kernel.PR_SET_NO_NEW_PRIVS, 1)
found = {"abi": restrict([readable, "/nowhere"], [writable], [listed])}
def attempt(name, what):
    try:
        what()
        found[name] = "done"
    except OSError as error:
        found[name] = errno.errorcode[error.errno]
attempt("read", lambda: open(readable + "/file").read())
attempt("write there", lambda: open(readable + "/file", "a"))
attempt("write", lambda: open(writable + "/new", "w").write("x"))
attempt("link", lambda: os.symlink("/etc", writable + "/link"))
attempt("list", lambda: os.listdir(listed))
attempt("read listed", lambda: open(listed + "/file").read())
attempt("read outside", lambda: open(outside + "/file").read())
attempt("run", lambda: os.execv("/bin/true", ["true"]))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", 9), timeout=1))
print(json.dumps(found))
"""


@pytest.mark.skipif(supported_abi() == 0, reason="this kernel has no Landlock")
def test_what_is_left_and_what_is_gone(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("readable", "writable", "listed", "outside")]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text("text")
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, folders)], capture_output=True, text=True, check=True
    )
    found = json.loads(answer.stdout)
    assert found.pop("abi") == supported_abi()
    connected = found.pop("connect")
    assert found == {
        "read": "done",
        "write there": "EACCES",
        "write": "done",
        "link": "EACCES",
        "list": "done",
        "read listed": "EACCES",
        "read outside": "EACCES",
        "run": "EACCES",
    }
    if supported_abi() >= 4:
        assert connected == "EACCES"
    assert not (tmp_path / "writable/link").is_symlink()
