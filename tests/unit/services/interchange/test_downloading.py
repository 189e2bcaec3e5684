"""Downloads through cut connections, and never a mixture of two files."""

from __future__ import annotations

import random
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.unit.services.interchange.shelf import Shelf

from maia.services.interchange import downloading
from maia.services.interchange.downloading import Patience, download, require_room
from maia.services.interchange.progress import Step
from maia.wire.errors import CancelledError, MaiaError, NotFoundError, PreconditionError, UnavailableError

DATA = random.Random(0).randbytes(300_000)
QUICK = Patience(attempts=2, pause_s=0.0, silence_s=10.0)


def get(served: Shelf, file: Path, data: bytes | None = DATA) -> list[Step]:
    if data is not None:
        served.files["/sets/a.zip"] = data
    steps: list[Step] = []
    download(f"{served.url}a.zip", file, doing="downloading a", patience=QUICK, on_step=steps.append)
    return steps


def ranges(served: Shelf) -> list[str]:
    return [asked for _, asked in served.asked]


def test_a_file_is_downloaded_whole(served: Shelf, tmp_path: Path) -> None:
    steps = get(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert steps[0] == Step("downloading a", 0, len(DATA), "bytes")
    assert steps[-1] == Step("downloading a", len(DATA), len(DATA), "bytes")


@pytest.mark.parametrize(("etags", "dates"), [(True, False), (False, True), (False, False)])
def test_cut_connections_are_gone_on_with(etags: bool, dates: bool, served: Shelf, tmp_path: Path) -> None:
    served.etags, served.dates = etags, dates
    served.cuts = [100_000, 50_000, 1]
    get(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == DATA
    assert ranges(served) == ["", "bytes=100000-", "bytes=150000-", "bytes=150001-"]


def test_a_server_without_ranges_sends_it_all_again(served: Shelf, tmp_path: Path) -> None:
    served.ranged = False
    served.cuts = [100_000]
    get(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_a_later_call_goes_on_where_an_earlier_one_failed(served: Shelf, tmp_path: Path) -> None:
    served.cuts = [100_000, 0, 0, 0]
    with pytest.raises(UnavailableError, match="the connection was cut; the same command goes on after 100000 bytes"):
        get(served, tmp_path / "a.zip")
    served.cuts = []
    served.asked.clear()
    get(served, tmp_path / "a.zip")
    assert ranges(served) == ["bytes=100000-"]
    assert (tmp_path / "a.zip").read_bytes() == DATA


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_has_changed_meanwhile_is_begun_anew(etags: bool, served: Shelf, tmp_path: Path) -> None:
    served.etags = etags
    served.cuts = [100_000, 0, 0, 0]
    with pytest.raises(UnavailableError):
        get(served, tmp_path / "a.zip")
    served.cuts = []
    changed = DATA[::-1] + b"more"
    get(served, tmp_path / "a.zip", changed)
    assert (tmp_path / "a.zip").read_bytes() == changed


def test_a_part_that_is_whole_already_is_not_asked_for_again(served: Shelf, tmp_path: Path) -> None:
    served.cuts = [100_000, 0, 0, 0]
    with pytest.raises(UnavailableError):
        get(served, tmp_path / "a.zip")
    (tmp_path / "a.zip.part").write_bytes(DATA)
    served.cuts = []
    get(served, tmp_path / "a.zip")
    assert ranges(served)[-1] == f"bytes={len(DATA)}-"
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_a_part_that_is_too_long_is_begun_anew(served: Shelf, tmp_path: Path) -> None:
    served.cuts = [100_000, 0, 0, 0]
    with pytest.raises(UnavailableError):
        get(served, tmp_path / "a.zip")
    (tmp_path / "a.zip.part").write_bytes(DATA + b"?")
    served.cuts = []
    get(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == DATA


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"validator": 3, "total": "x"}', "\0"])
def test_a_part_of_which_nothing_is_known_is_begun_anew(note: str, served: Shelf, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"of something else")
    (tmp_path / "a.zip.part.json").write_text(note)
    get(served, tmp_path / "a.zip")
    assert ranges(served) == [""]
    assert (tmp_path / "a.zip").read_bytes() == DATA


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_not_asked_for_twice(status: int, served: Shelf, tmp_path: Path) -> None:
    served.statuses = [status]
    with pytest.raises(NotFoundError, match=rf"there is no {served.url}a\.zip \(HTTP {status}\)") as caught:
        get(served, tmp_path / "a.zip")
    assert caught.value.reason == "DOWNLOAD_MISSING"
    assert len(served.asked) == 1
    assert not list(tmp_path.iterdir())


def test_a_busy_server_is_asked_again_and_one_that_refuses_is_not(served: Shelf, tmp_path: Path) -> None:
    served.statuses = [503]
    get(served, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == DATA
    served.statuses = [403]
    served.asked.clear()
    with pytest.raises(UnavailableError, match="cannot be downloaded: HTTP 403 Forbidden"):
        get(served, tmp_path / "b.zip")
    assert len(served.asked) == 1


def test_a_server_that_leads_elsewhere_is_followed_by_http_alone(tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1:9/a.zip")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UnavailableError, match=r"leads to ftp://127\.0\.0\.1:9/a\.zip, which is not http"):
            download(f"http://127.0.0.1:{server.server_port}/a.zip", tmp_path / "a.zip", doing="", patience=QUICK)
        server.shutdown()


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnavailableError, match="Connection refused; the same command goes on after 0 bytes") as caught:
        download(f"http://127.0.0.1:{port}/a.zip", tmp_path / "a.zip", doing="", patience=QUICK)
    assert caught.value.reason == "DOWNLOAD_FAILED"


def test_who_hears_the_progress_may_stop_it_and_what_has_come_stays(served: Shelf, tmp_path: Path) -> None:
    served.files["/sets/a.zip"] = DATA

    def heard(step: Step) -> None:
        if step.done > 0:
            raise CancelledError("enough")

    with pytest.raises(CancelledError):
        download(f"{served.url}a.zip", tmp_path / "a.zip", doing="", patience=QUICK, on_step=heard)
    assert 0 < (tmp_path / "a.zip.part").stat().st_size <= len(DATA)
    assert len(served.asked) == 1


def test_a_folder_that_cannot_be_written_is_not_taken_for_a_bad_connection(served: Shelf, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part.json").mkdir()
    with pytest.raises(PreconditionError, match="nothing can be written to"):
        get(served, tmp_path / "a.zip")
    assert len(served.asked) == 1


def test_what_does_not_fit_is_not_begun(served: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MaiaError, match="bytes do not fit into") as caught:
        require_room(tmp_path, 1 << 60)
    assert caught.value.reason == "DISK_FULL"
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(downloading, "require_room", lambda folder, size: asked.append((folder, size)))
    get(served, tmp_path / "a.zip")
    assert asked == [(tmp_path, len(DATA))]
