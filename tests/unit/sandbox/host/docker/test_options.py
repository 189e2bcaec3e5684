"""What an engine is asked for."""

from __future__ import annotations

import pytest

from maia.sandbox import Limits
from maia.sandbox.host.tiers.docker.options import Size, host_options

SIZE = Size.of(Limits(memory_mb=512, tmp_mb=64, threads=16, open_files=64, cpus=1.5))


def test_sizes_are_equal_where_containers_would_be() -> None:
    assert Size.of(Limits(wall_s=1)) == Size.of(Limits(wall_s=2))
    assert Size.of(Limits(memory_mb=100)) != Size.of(Limits(memory_mb=200))


@pytest.mark.parametrize("runtime", [None, "runsc"])
def test_everything_is_taken_away(runtime: str | None) -> None:
    options = host_options(SIZE, runtime, 4)
    assert options["network_mode"] == "none"
    assert options["ipc_mode"] == "none"
    assert options["cap_drop"] == ["ALL"]
    assert options["read_only"] is True
    assert options["log_config"] == {"type": "none"}
    assert options["auto_remove"] is True
    assert options["security_opt"][0] == "no-new-privileges"
    assert options["security_opt"][1].startswith("seccomp={")
    assert not {"privileged", "cap_add", "binds", "devices", "volumes_from", "mounts"} & options.keys()
    assert options.get("runtime") == runtime


def test_memory_holds_a_checkpoint_and_tmp_and_there_is_no_swap() -> None:
    options = host_options(SIZE, None, 4)
    assert options["mem_limit"] == f"{2 * 512 + 64 + 256}m" == options["memswap_limit"]


def test_threads_are_counted_exactly_but_for_the_relay_the_supervisor_and_the_checkpoint() -> None:
    assert host_options(SIZE, None, 4)["pids_limit"] == 16 + 3


def test_tmp_is_bounded_and_nothing_in_it_runs() -> None:
    mounted = host_options(SIZE, None, 4)["tmpfs"]["/tmp"].split(",")
    assert {"size=64m", "noexec", "nosuid", "nodev"} <= set(mounted)
    assert any(option.startswith("nr_inodes=") for option in mounted)


@pytest.mark.parametrize(("there_are", "promised"), [(4, 1_500_000_000), (1, 1_000_000_000)])
def test_no_more_processors_are_promised_than_there_are(there_are: int, promised: int) -> None:
    assert host_options(SIZE, None, there_are)["nano_cpus"] == promised


def test_gvisors_own_processes_have_room() -> None:
    ours, theirs = host_options(SIZE, None, 4), host_options(SIZE, "runsc", 4)
    assert theirs["pids_limit"] > 500 > ours["pids_limit"]
    assert int(theirs["mem_limit"][:-1]) == int(ours["mem_limit"][:-1]) + 512
