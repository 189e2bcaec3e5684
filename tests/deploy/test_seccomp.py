"""The profile of sandbox hosts in containers: what it lets through, in a form that every runtime takes."""

from __future__ import annotations

import json
import socket
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
PROFILE: dict[str, Any] = json.loads((DEPLOY / "seccomp-sandbox-host.json").read_text())


def generator() -> Any:
    loader = SourceFileLoader("seccomp_profile", str(DEPLOY / "seccomp-profile"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def allowed() -> set[str]:
    """Calls that go through whatever their arguments are."""
    return {
        name
        for rule in PROFILE["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
        for name in rule["names"]
    }


def test_what_is_not_listed_is_refused() -> None:
    assert PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"


@pytest.mark.parametrize(
    "call", ["unshare", "setns", "clone", "mount", "umount2", "pivot_root", "open_tree", "move_mount", "mount_setattr"]
)
def test_a_jail_can_be_made(call: str) -> None:
    assert call in allowed()


@pytest.mark.parametrize(
    "call",
    [
        *("bpf", "perf_event_open", "ptrace", "process_vm_readv", "process_vm_writev", "userfaultfd", "kcmp"),
        *("init_module", "finit_module", "delete_module", "kexec_load", "reboot", "swapon", "acct", "iopl", "ioperm"),
        *("add_key", "request_key", "keyctl", "open_by_handle_at", "fsopen", "fsmount", "chroot", "quotactl"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register", "settimeofday", "clock_settime", "mknod", "clone3"),
        *("socket", "syslog", "nfsservctl", "lookup_dcookie", "fanotify_init", "personality"),
    ],
)
def test_a_dangerous_call_does_not_go_through(call: str) -> None:
    assert call not in allowed()


def test_sockets_are_of_four_families_and_netlink_asks_for_addresses_only() -> None:
    rules = [rule["args"] for rule in PROFILE["syscalls"] if "socket" in rule["names"]]
    assert all(argument["op"] == "SCMP_CMP_EQ" for rule in rules for argument in rule)
    assert [{argument["index"]: argument["value"] for argument in rule} for rule in rules] == [
        {0: socket.AF_UNIX},
        {0: socket.AF_INET},
        {0: socket.AF_INET6},
        {0: socket.AF_NETLINK, 2: 0},  # NETLINK_ROUTE; 12, for one, is the packet filter
    ]


def test_libraries_are_told_to_go_without_clone3() -> None:
    (rule,) = [rule for rule in PROFILE["syscalls"] if "clone3" in rule["names"]]
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def test_only_what_the_oci_specification_knows_is_in_it() -> None:
    assert set(PROFILE) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    for rule in PROFILE["syscalls"]:
        assert set(rule) <= {"names", "action", "errnoRet", "args"}


def test_the_generator_takes_nothing_that_needs_a_capability() -> None:
    made = generator().profile(
        {
            "syscalls": [
                {"names": ["read", "ptrace"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["breakpoint"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
                {"names": ["s390_runtime_instr"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390"]}},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]},
                {"names": ["vhangup"], "action": "SCMP_ACT_ERRNO"},
            ]
        }
    )
    names = set(made["syscalls"][0]["names"])
    assert names == {"read", "breakpoint", *generator().ADDED}
    assert made["architectures"] == PROFILE["architectures"]
    assert made["syscalls"][1:] == PROFILE["syscalls"][1:]
