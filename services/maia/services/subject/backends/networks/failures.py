"""What stands in the way of loading a network, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maia.services.subject.backends.networks.options import NetworkOptions
from maia.wire.errors import PreconditionError


@contextmanager
def library(*modules: str, extra: str) -> Iterator[None]:
    """Import a library inside, so that its absence is explained.

    Args:
        modules: Top-level names that the extra brings.
        extra: Of ours.

    Raises:
        PreconditionError: EXTRA_MISSING: one of the modules is not installed. EXTRA_UNUSABLE: torchvision's compiled
            part does not fit the torch beside it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in modules:
            raise
        raise PreconditionError(
            f"this subject needs {missing}, which is not installed; run: pip install 'maia[{extra}]'",
            reason="EXTRA_MISSING",
            metadata={"module": missing, "extra": extra},
        ) from error
    except RuntimeError as error:
        # A torchvision built for CUDA registers no operators beside a torch without it, and says so in this way.
        if "torchvision::" not in str(error):
            raise
        raise PreconditionError(
            "torchvision is installed, but its compiled part does not run beside this torch; install both from one "
            f"index, as pytorch.org says for this machine, then run: pip install 'maia[{extra}]'",
            reason="EXTRA_UNUSABLE",
            metadata={"module": "torchvision", "extra": extra},
        ) from error


def model_missing(what: str, where: str, options: NetworkOptions, *, why: str = "") -> PreconditionError:
    """Return MODEL_MISSING: a model's files are not here and were not to be had.

    Args:
        what: The files, and where they are published.
        where: Where to put them, as a continuation of "put it ".
        options: Say whether downloading was allowed.
        why: What happened when it was tried.
    """
    tried = "offline mode forbids to download it" if options.offline else f"downloading it failed ({why:.300})"
    return PreconditionError(
        f"{what} is not here, and {tried}; put it {where}",
        reason="MODEL_MISSING",
        metadata={"model": what, "model_dir": str(options.model_dir or "")},
    )


def weights_unusable(path: Path, why: str) -> PreconditionError:
    """Return WEIGHTS_UNUSABLE: a file of weights is absent, damaged or of another network."""
    return PreconditionError(
        f"the weights in {path} cannot be used: {why:.600}", reason="WEIGHTS_UNUSABLE", metadata={"path": str(path)}
    )


def preprocessing_unsupported(what: str) -> PreconditionError:
    """Return PREPROCESSING_UNSUPPORTED: pictures would not be prepared as the network's authors did."""
    return PreconditionError(
        f"{what}, which is not supported; load the network with python:module:factory and its own transform",
        reason="PREPROCESSING_UNSUPPORTED",
    )
