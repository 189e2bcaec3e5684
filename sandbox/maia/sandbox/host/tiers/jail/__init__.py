"""The jail: a fork of a warm process in namespaces of its own, with a root that holds only what it may import.

::

    host process ──spawns──▶ launch ──forks──▶ keeper (pid 1) ──forks──▶ zygote ──forks──▶ guest, one per session

`tier` runs in the host process. `launch` builds the root (`plan`, `root`), enters it and becomes the keeper's parent;
from then on nothing in that process tree sees the host's files. The keeper is the init of a pid namespace: when it
ends, the kernel ends the zygote and every guest. The zygote has imported what guests may import and forks one per
session; `confine` takes everything from the fork before guest code runs.

`kernel` holds the system calls that Python lacks, `syscalls` and `filter` the seccomp filter.
"""
