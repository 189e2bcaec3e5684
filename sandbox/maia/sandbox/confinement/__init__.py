"""How a process gives up what it may do: the kernel's calls, seccomp filters, Landlock, and the order of it all.

Used on both sides of the wall: by what launches sessions, and by each guest in its last trusted moments. It knows no
host.
"""
