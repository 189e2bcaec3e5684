"""Objects that hold a session's tools and constants."""

from __future__ import annotations

__all__ = ["Object", "name_of"]


class Object:
    """What tools and constants with a dotted name hang on: `tools`, `system`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        public = ", ".join(name for name in vars(self) if not name.startswith("_"))
        return f"<{self._name}: {public}>"


def name_of(holder: Object) -> str:
    """The dotted name under which a session knows the object."""
    return holder._name  # noqa: SLF001  its own module; blocks must not see it as an attribute
