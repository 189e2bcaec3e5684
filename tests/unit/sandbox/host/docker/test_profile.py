"""The container's seccomp profile: what it must permit, and no more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maia.sandbox.confinement.syscalls import ALLOWED, CONDITIONAL, KILLED, NOT_IMPLEMENTED, NOTHING_TO_DO
from maia.sandbox.host.tiers.docker.profile import seccomp_profile

PROFILE: dict[str, Any] = json.loads(seccomp_profile())
RULES: list[dict[str, Any]] = PROFILE["syscalls"]
PERMITTED = {name for rule in RULES if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def rules_of(name: str) -> list[dict[str, Any]]:
    return [rule for rule in RULES if name in rule["names"]]


def test_what_is_not_named_is_refused() -> None:
    assert (PROFILE["defaultAction"], PROFILE["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)


def test_all_that_a_guests_own_filter_permits_is_permitted() -> None:
    assert {*ALLOWED, *CONDITIONAL, *NOTHING_TO_DO} <= PERMITTED


def test_of_what_ends_a_guest_only_the_supervisors_tools_are_permitted() -> None:
    assert PERMITTED & KILLED.keys() == {"pidfd_open", "pidfd_send_signal"}


@pytest.mark.parametrize(
    "name",
    [
        *("socket", "connect", "bind", "listen", "accept4", "execveat", "ptrace", "mount", "unshare", "setns", "bpf"),
        *("memfd_create", "chmod", "fchmod", "chown", "symlink", "link", "mknod", "mq_open", "shmget", "personality"),
        *(
            "setuid",
            "setgid",
            "setgroups",
            "io_uring_setup",
            "process_vm_readv",
            "name_to_handle_at",
            "clone3",
            "keyctl",
        ),
    ],
)
def test_nobody_in_the_container_may(name: str) -> None:
    assert name not in PERMITTED


def test_new_calls_have_not_been_thought_of() -> None:
    (rule,) = rules_of("clone3")
    assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert set(rule["names"]) == set(NOT_IMPLEMENTED)


def test_a_fork_makes_no_namespace() -> None:
    (rule,) = rules_of("clone")
    (check,) = rule["args"]
    namespaces = (0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00020000)
    assert check["op"] == "SCMP_CMP_MASKED_EQ"
    assert check["valueTwo"] == 0
    assert all(check["value"] & flag for flag in namespaces)
    assert not check["value"] & 0x01200011, "an ordinary fork"
    assert not check["value"] & 0x003D0F00, "a thread"


@pytest.mark.parametrize("name", ["ioctl", "prctl", "socketpair", "clone"])
def test_some_are_permitted_for_named_arguments_only(name: str) -> None:
    assert rules_of(name)
    assert all(len(rule["args"]) == 1 for rule in rules_of(name))


def test_a_socket_pair_is_a_local_one() -> None:
    assert [rule["args"][0]["value"] for rule in rules_of("socketpair")] == [1]


def test_nobody_types_into_a_terminal() -> None:
    assert 0x5412 not in {rule["args"][0]["value"] for rule in rules_of("ioctl")}
