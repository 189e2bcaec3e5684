import subprocess
import sys

from maia.wire import errors
from maia.wire.errors import MaiaError
from maia.wire.status import STATUS_OF


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    def names(cls: type[MaiaError]) -> set[str]:
        return {cls.__name__}.union(*(names(sub) for sub in cls.__subclasses__() if sub.__module__ == errors.__name__))

    drawn = {word for word in (errors.__doc__ or "").replace("─", " ").split() if word.endswith("Error")}
    assert drawn == names(MaiaError) == {"MaiaError", *(cls.__name__ for cls in STATUS_OF)}


def test_catching_an_error_does_not_cost_an_import_of_grpc() -> None:
    code = "import sys, maia.wire.errors, maia.wire.limits; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
