from __future__ import annotations

import pytest

from maia.services._runtime.libraries import importing, require_libraries
from maia.wire.errors import PreconditionError


def test_an_absent_library_is_named_with_its_extra() -> None:
    require_libraries("json", extra="maia[serve]")
    with pytest.raises(PreconditionError, match=r"needs no_such_one; install it by: pip install 'maia\[serve\]'"):
        require_libraries("json", "no_such_one", extra="maia[serve]")


@pytest.mark.parametrize("error", [ImportError("no"), ModuleNotFoundError("no"), RuntimeError("torchvision::nms")])
def test_a_broken_library_is_explained(error: Exception) -> None:
    told = "transformers is installed but cannot be imported"
    with pytest.raises(PreconditionError, match=told) as caught, importing("transformers"):
        raise error
    assert caught.value.reason == "EXTRA_UNUSABLE"
    assert caught.value.__cause__ is error


def test_what_a_library_says_of_its_arguments_is_left_alone() -> None:
    with pytest.raises(ValueError, match="mine"), importing("transformers"):
        raise ValueError("mine")
