"""Where the files of a model are: in the model folder, in a library's cache, or published.

A model folder holds, in any mixture,

    FILE, checkpoints/FILE, hub/checkpoints/FILE    single files, under the names that they are published under
    OWNER/NAME, OWNER--NAME, NAME                   plain copies of repositories of the Hugging Face Hub
    models--OWNER--NAME, hub/models--OWNER--NAME    a cache of the Hub, as HF_HOME or its folder `hub`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse

from maia.services.subject.backends.networks.failures import model_missing
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.wire.errors import PreconditionError

_HASH = re.compile(r"-([a-f0-9]{8,})\.")  # of the contents, in the names that PyTorch publishes files under


def local_file(name: str, options: NetworkOptions) -> Path | None:
    """Return a single file that is here already, or None."""
    return next((path for path in _file_places(name, options) if path.is_file()), None)


def published_file(url: str, options: NetworkOptions) -> Path:
    """Return a single file, downloading it if need be and allowed.

    Raises:
        PreconditionError: MODEL_MISSING.
    """
    import torch

    name = Path(urlparse(url).path).name
    found = local_file(name, options)
    if found is not None:
        return found
    if options.model_dir is None:
        target = Path(torch.hub.get_dir()) / "checkpoints" / name
    else:
        target = options.model_dir / "checkpoints" / name
    where = f"at {target}"
    if options.offline:
        raise model_missing(f"{name} ({url})", where, options)
    expected = _HASH.search(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), expected and expected.group(1), progress=False)
    except (OSError, RuntimeError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise model_missing(f"{name} ({url})", where, options, why=str(error)) from error
    return target


def repository_folder(repository: str, options: NetworkOptions) -> Path | None:
    """Return a plain copy of a repository in the model folder, or None."""
    if options.model_dir is None:
        return None
    names = (repository, repository.replace("/", "--"), repository.rpartition("/")[2])
    return next((options.model_dir / name for name in names if (options.model_dir / name).is_dir()), None)


def hub_cache(options: NetworkOptions) -> Path | None:
    """Return the cache of the Hub to use: within the model folder, or None for the user's own."""
    if options.model_dir is None:
        return None
    nested = options.model_dir / "hub"
    return nested if any(nested.glob("models--*")) else options.model_dir


def repository_file(repository: str, names: Sequence[str], options: NetworkOptions) -> Path:
    """Return the first of some files that a repository of the Hub has, downloading it if need be and allowed.

    Raises:
        PreconditionError: MODEL_MISSING.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    folder = repository_folder(repository, options)
    if folder is not None:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    why = f"it has no {' or '.join(names)}"
    for name in names:
        try:
            return Path(
                hf_hub_download(repository, name, cache_dir=hub_cache(options), local_files_only=options.offline)
            )
        except LocalEntryNotFoundError as error:
            why = str(error).splitlines()[0]
        except EntryNotFoundError:
            continue
        except (OSError, ValueError) as error:  # among them: no such repository, gated, no connection
            raise repository_missing(repository, options, str(error)) from error
    raise repository_missing(repository, options, why)


def repository_missing(repository: str, options: NetworkOptions, why: str) -> Exception:
    """Return MODEL_MISSING for a repository of the Hub, or for what is spelled as a folder."""
    if repository.startswith(("/", ".", "~")):
        return PreconditionError(
            f"there is no folder {repository} with a model that can be read ({why.strip().partition(chr(10))[0]:.300})",
            reason="MODEL_MISSING",
            metadata={"model": repository, "model_dir": str(options.model_dir or "")},
        )
    folder = (options.model_dir or Path("MODEL_DIR")) / repository
    hint = " (a gated model also needs HF_TOKEN, of an account that accepted its terms)" if not options.offline else ""
    where = f"in {folder}, with `hf download {repository} --local-dir {folder}`{hint}"
    return model_missing(f"https://huggingface.co/{repository}", where, options, why=why.strip().partition("\n")[0])


def _file_places(name: str, options: NetworkOptions) -> list[Path]:
    if options.model_dir is None:
        import torch

        return [Path(torch.hub.get_dir()) / "checkpoints" / name]
    return [options.model_dir / folder / name for folder in ("", "checkpoints", "hub/checkpoints")]
