"""Sessions on another machine, over gRPC: the server (`python -m maia.sandbox.remote`) and its client.

The only part of the sandbox that knows gRPC; importing `maia.sandbox` does not load it.
"""
