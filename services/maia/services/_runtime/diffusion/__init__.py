"""Pipelines of the library diffusers: how each is run by default, loading, running; used by two servers."""
