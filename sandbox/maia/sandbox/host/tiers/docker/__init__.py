"""Containers: one per session, made by a Docker engine, with runc (tier docker) or with gVisor's runsc (tier gvisor).

::

    host process ──engine API──▶ dockerd ──▶ container: relay (pid 1) ──forks──▶ supervisor ──forks──▶ guest
         ╚═════════════ attached standard streams ═════════════╝

`tier` keeps a `pool` of containers whose relays are warm. `engine` is all that speaks to the engine, `options` how a
container is confined, `profile` its seccomp profile, `image` what it holds. `relay` carries a session's three streams
over the attached one; its other end is `maia.sandbox.guest.relay`. There is no network, no mounted socket and no shared
folder.
"""
