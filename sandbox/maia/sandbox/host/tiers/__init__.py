"""How a session is isolated: one package a tier.

| tier | a session is | for |
| --- | --- | --- |
| jail | a fork of a warm process in namespaces and a root of its own | Linux, root or not |
| gvisor, docker | a container, taken from a warm pool | hosts with an engine |
| landlock | a fork of a warm process behind Landlock and seccomp | hosts that refuse user namespaces |
| none | a process | debugging only |

In each of them a supervisor (`maia.sandbox.guest.supervisor`) keeps the guest, and the host has three ends of the
session.
"""
