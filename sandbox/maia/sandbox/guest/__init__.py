"""What runs inside the wall, beside the untrusted code: loads warm in the zygote, then serves one session.

Nothing here is trusted by the host. It imports `maia.sandbox.protocol` and nothing else of maia; the rest is not there.
"""
