"""Published sets from a server into the store."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from tests.unit.services.interchange.shelf import Shelf, shelf
from tests.unit.services.interchange.upstream import files, noise, write

from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.downloading import Patience
from maia.services.interchange.fetching import BASE_URL, PUBLISHED, Fetched, Source, fetch
from maia.services.interchange.importing import ImportChoice
from maia.services.interchange.progress import Step
from maia.wire.errors import InvalidRequestError, NotFoundError, PreconditionError, UnavailableError

QUICK = Patience(attempts=2, pause_s=0.0, silence_s=10.0)


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files(folder).items():
            made.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> ExemplarStore:
    return ExemplarStore(tmp_path / "store")


@pytest.fixture
def published(served: Shelf, tmp_path: Path) -> Shelf:
    write(tmp_path / "all" / "net" / "imagenet" / "layer4", noise())
    served.files["/sets/net.zip"] = zipped(tmp_path / "all")
    return served


def get(published: Shelf, store: ExemplarStore, choice: ImportChoice | None = None, **given: str) -> Fetched:
    return fetch(Source("net", published.url, **given), store, choice, patience=QUICK)


def test_a_set_is_downloaded_unpacked_imported_and_its_zip_removed(published: Shelf, store: ExemplarStore) -> None:
    steps: list[Step] = []
    fetched = fetch(Source("net", published.url), store, patience=QUICK, on_step=steps.append)
    assert fetched.downloaded
    assert fetched.sha256 == hashlib.sha256(published.files["/sets/net.zip"]).hexdigest()
    assert [one.manifest.subject for one in fetched.sets] == ["net"]
    assert len(store.find("net", "layer4").exemplars(2)) == 4
    assert sorted(path.name for path in (store.root / "downloads").rglob("*")) == ["net.json", "unpacked"]
    doing = list(dict.fromkeys(step.doing for step in steps))
    assert doing == ["downloading net", "checking net", "unpacking net", "checking", "packing"]


def test_what_is_in_the_store_is_not_downloaded_again(published: Shelf, store: ExemplarStore) -> None:
    first = get(published, store)
    again = get(published, store)
    assert len(published.asked) == 1
    assert (again.downloaded, again.sha256) == (False, first.sha256)
    assert [(one.manifest, one.anew) for one in again.sets] == [(first.sets[0].manifest, False)]
    get(published, store, ImportChoice(model="resnet"))
    assert len(published.asked) == 2
    assert store.find("resnet", "layer4")


def test_what_was_taken_out_of_the_store_is_downloaded_again(published: Shelf, store: ExemplarStore) -> None:
    get(published, store)
    store.find("net", "layer4").folder.rename(store.root / "elsewhere")
    assert get(published, store).downloaded
    (store.root / "downloads" / "net.json").write_text("[]")
    assert get(published, store).downloaded


def test_the_zip_may_be_kept(published: Shelf, store: ExemplarStore) -> None:
    fetch(Source("net", published.url), store, keep=True, patience=QUICK)
    kept = store.root / "downloads" / "net.zip"
    assert kept.read_bytes() == published.files["/sets/net.zip"]
    (store.root / "downloads" / "net.json").unlink()
    assert not get(published, store).downloaded
    assert len(published.asked) == 1
    assert not kept.exists()


def test_a_cut_download_is_gone_on_with_by_the_next_call(published: Shelf, store: ExemplarStore) -> None:
    published.cuts = [500, 0, 0, 0]
    with pytest.raises(UnavailableError, match="goes on after 500 bytes"):
        get(published, store)
    published.cuts = []
    get(published, store)
    assert published.asked[-1] == ("/sets/net.zip", "bytes=500-")
    assert store.find("net", "layer4")


def test_a_wrong_checksum_imports_nothing_and_a_right_one_all(published: Shelf, store: ExemplarStore) -> None:
    digest = hashlib.sha256(published.files["/sets/net.zip"]).hexdigest()
    with pytest.raises(PreconditionError, match=f"is {digest}, not {'0' * 64}; remove it") as caught:
        get(published, store, sha256="0" * 64)
    assert caught.value.reason == "CHECKSUM_WRONG"
    assert store.manifests() == []
    assert get(published, store, sha256=digest).sha256 == digest
    assert len(published.asked) == 1  # what was downloaded is whole, whatever was expected


@pytest.mark.parametrize("prefix", ["", "exemplars/", "a/b/c/"])
def test_folders_above_the_models_do_not_matter(
    prefix: str, served: Shelf, store: ExemplarStore, tmp_path: Path
) -> None:
    write(tmp_path / "all" / prefix / "dino_vits8" / "imagenet" / "blocks.1", noise())
    served.files["/sets/dino.zip"] = zipped(tmp_path / "all")
    fetched = fetch(Source("dino", served.url), store, patience=QUICK)
    assert [one.manifest.subject for one in fetched.sets] == ["dino_vits8"]


def test_a_zip_of_datasets_alone_is_called_after_itself(served: Shelf, store: ExemplarStore, tmp_path: Path) -> None:
    write(tmp_path / "all" / "imagenet" / "layer1", noise())
    served.files["/sets/clip-RN50.zip"] = zipped(tmp_path / "all")
    fetched = fetch(Source("clip-RN50", served.url.rstrip("/")), store, patience=QUICK)
    assert [one.manifest.subject for one in fetched.sets] == ["clip-RN50"]


def test_a_zip_with_wrong_files_leaves_nothing_but_itself(served: Shelf, store: ExemplarStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "all" / "net" / "imagenet" / "layer4", noise())
    (folder / "ids.csv").write_text("x")
    served.files["/sets/net.zip"] = zipped(tmp_path / "all")
    with pytest.raises(PreconditionError, match=r"ids\.csv is no table of numbers"):
        get(served, store)
    assert sorted(path.name for path in store.root.rglob("*") if path.is_file()) == ["net.zip", "net.zip.url"]


def test_a_zip_of_another_server_is_not_taken_for_this_ones(published: Shelf, store: ExemplarStore) -> None:
    fetch(Source("net", published.url), store, keep=True, patience=QUICK)
    (store.root / "downloads" / "net.json").unlink()
    with shelf() as other:
        with pytest.raises(NotFoundError, match="HTTP 404"):
            get(other, store)
        other.files = dict(published.files)
        other.cuts = [500, 0, 0, 0]
        with pytest.raises(UnavailableError):
            get(other, store)
        published.asked.clear()
        assert get(published, store, sha256=hashlib.sha256(published.files["/sets/net.zip"]).hexdigest()).downloaded
    assert published.asked == [("/sets/net.zip", "")]


def test_what_is_no_zip_is_downloaded_again(published: Shelf, store: ExemplarStore) -> None:
    whole = published.files["/sets/net.zip"]
    published.files["/sets/net.zip"] = b"<html>Please log in"
    with pytest.raises(PreconditionError, match=r"no whole zip file.*; fetch it again"):
        get(published, store)
    published.files["/sets/net.zip"] = whole
    assert get(published, store).downloaded


def test_a_zip_that_leads_outside_is_refused(served: Shelf, store: ExemplarStore, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("../../../images.npy", b"x")
    served.files["/sets/net.zip"] = buffer.getvalue()
    with pytest.raises(PreconditionError, match="outside its folder"):
        get(served, store)
    assert not list(tmp_path.rglob("images.npy"))


def test_what_is_not_published_there_is_said(served: Shelf, store: ExemplarStore) -> None:
    with pytest.raises(NotFoundError, match="HTTP 404"):
        get(served, store)


@pytest.mark.parametrize("name", ["", "../net", "a/b", ".net", "net?x", "net zip", "né"])
def test_names_are_names(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no name of a zip file; published are resnet152, clip-RN50"):
        Source(name)


@pytest.mark.parametrize(
    "url", ["", "data.csail.mit.edu", "file:///etc", "ftp://x/", "http://", "http://a b/", "http://["]
)
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no address that begins with http"):
        Source("net", url)


@pytest.mark.parametrize("digest", ["0" * 63, "0" * 65, "g" * 64, "A" * 64])
def test_a_checksum_has_64_digits(digest: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no SHA-256"):
        Source("net", sha256=digest)


def test_the_published_sets_are_where_maia_has_them() -> None:
    assert [Source(name).url for name in PUBLISHED] == [
        "http://data.csail.mit.edu/maia-exemplars/resnet152.zip",
        "http://data.csail.mit.edu/maia-exemplars/clip-RN50.zip",
        "http://data.csail.mit.edu/maia-exemplars/dino.zip",
        "http://data.csail.mit.edu/maia-exemplars/synthetic_neurons.zip",
    ]
    assert Source("net", BASE_URL).url == Source("net", BASE_URL.rstrip("/")).url
