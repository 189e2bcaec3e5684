"""`python -m maia.services.interchange`: exemplar files in and out, and contact sheets."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from maia.services.exemplars.settings import default_store
from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.choosing import choose_layers
from maia.services.interchange.exporting import export_layers
from maia.services.interchange.failures import setting_invalid, shown
from maia.services.interchange.fetching import BASE_URL, PUBLISHED, Source, fetch
from maia.services.interchange.importing import ImportChoice, Imported, import_sets
from maia.services.interchange.showing import SheetRequest, show
from maia.services.interchange.telling import JsonTeller, PeopleTeller, Teller
from maia.wire.program import reporting_errors

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Do what the command says, and return the exit code."""
    return reporting_errors(lambda: _run(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m maia.services.interchange", description="Exemplar files of MAIA and MILAN, and contact sheets."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    importing = commands.add_parser("import", help="take files of MAIA or MILAN into the store")
    importing.add_argument("folder", type=Path, metavar="DIR", help="of a layer, dataset or model, or above all models")
    fetching = commands.add_parser("fetch", help="download, check and import MAIA's published sets")
    fetching.add_argument("names", nargs="*", metavar="NAME", help=f"all of {', '.join(PUBLISHED)} if not given")
    fetching.add_argument("--base-url", default=BASE_URL, help="where the zip files are (%(default)s)")
    fetching.add_argument("--sha256", default="", metavar="HEX", help="checksum of the one zip that is named")
    fetching.add_argument("--keep", action="store_true", help="leave the zip in the store's folder `downloads`")
    for one in (importing, fetching):
        one.add_argument("--model", default="", help="of several, which; of one, what to call it")
        one.add_argument("--dataset", default="", help="of several, which; of one, what to call it")
        one.add_argument("--layers", default="", help="separated by commas; all if not given")
        one.add_argument("--units", type=int, metavar="N", help="of the one layer, if more than its units.npy tells")
        one.add_argument("--without-ids", action="store_true", help="number the pictures anew")
    exporting = commands.add_parser("export", help="write the store's exemplars as files of MAIA and MILAN")
    exporting.add_argument("folder", type=Path, metavar="DIR", help="where <model>/<dataset>/<layer> is made")
    exporting.add_argument("--layers", default="", help="separated by commas; all if not given")
    showing = commands.add_parser("show", help="make a contact sheet of a unit")
    showing.add_argument("--unit", required=True, metavar="LAYER:INDEX", help="such as layer4:122")
    showing.add_argument("--out", type=Path, metavar="FILE", help="a .png or .html (<model>-<layer>-<index>.png)")
    for one in (exporting, showing):
        one.add_argument("--model", required=True, help="the subject")
        one.add_argument("--dataset", default="", help="the one of the newest set if not given")
    for one in (importing, exporting, fetching, showing):
        one.add_argument("--store", type=Path, default=default_store(), help="folder of the exemplars (%(default)s)")
        one.add_argument("--json", action="store_true", help="tell everything as lines of JSON on standard output")
        one.add_argument("--end-with-stdin", action="store_true", help="stop when standard input closes")
    return parser


def _run(chosen: argparse.Namespace) -> None:
    if chosen.end_with_stdin:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    commands = {"import": _import, "export": _export, "fetch": _fetch, "show": _show}
    teller = JsonTeller() if chosen.json else PeopleTeller()
    commands[chosen.command](chosen, ExemplarStore(chosen.store), teller)
    teller.finish()


def _import(chosen: argparse.Namespace, store: ExemplarStore, teller: Teller) -> None:
    for imported in import_sets(chosen.folder, store, _choice(chosen), on_step=teller.step):
        _tell_imported(imported, teller)


def _fetch(chosen: argparse.Namespace, store: ExemplarStore, teller: Teller) -> None:
    names = list(dict.fromkeys(chosen.names)) or list(PUBLISHED)
    if chosen.sha256 and len(names) > 1:
        raise setting_invalid(f"--sha256 is the checksum of one zip, and there are {len(names)}; name one")
    sources = [Source(name, chosen.base_url, chosen.sha256.lower()) for name in names]
    for source in sources:
        fetched = fetch(source, store, _choice(chosen), keep=chosen.keep, on_step=teller.step)
        verb = "downloaded" if fetched.downloaded else "already here:"
        teller.result(
            {"fetched": fetched.url, "sha256": fetched.sha256, "downloaded": fetched.downloaded},
            f"{verb} {fetched.url}\nSHA-256 {fetched.sha256}",
        )
        for imported in fetched.sets:
            _tell_imported(imported, teller)


def _choice(chosen: argparse.Namespace) -> ImportChoice:
    return ImportChoice(chosen.model, chosen.dataset, _names(chosen.layers), chosen.units, chosen.without_ids)


def _tell_imported(imported: Imported, teller: Teller) -> None:
    teller.notes(imported.notes)
    manifest = imported.manifest
    layers = {layer.name: layer.units for layer in manifest.layers}
    verb = "imported" if imported.anew else "already in the store:"
    listed = ", ".join(f"{shown(name)} ({units} units)" for name, units in layers.items())
    teller.result(
        {
            "imported": manifest.subject,
            "anew": imported.anew,
            "dataset": manifest.dataset,
            "layers": layers,
            "pictures": imported.pictures,
        },
        f"{verb} {shown(manifest.subject)} on {shown(manifest.dataset)}: {listed}, {imported.pictures} pictures",
    )


def _export(chosen: argparse.Namespace, store: ExemplarStore, teller: Teller) -> None:
    layers = choose_layers(store, chosen.model, chosen.dataset, _names(chosen.layers))
    for exported in export_layers(layers, chosen.folder, teller.step):
        teller.notes(exported.notes)
        teller.result(
            {"exported": str(exported.folder), "units": exported.units, "top": exported.top},
            f"wrote {shown(exported.folder)}: {exported.units} units, {exported.top} pictures each",
        )


def _show(chosen: argparse.Namespace, store: ExemplarStore, teller: Teller) -> None:
    layer, _, index = chosen.unit.rpartition(":")
    if not (layer and index.isascii() and index.isdecimal()):
        raise setting_invalid(f"{chosen.unit!r:.100} is no unit; write LAYER:INDEX, such as layer4:122")
    file = show(store, SheetRequest(chosen.model, layer, int(index), chosen.dataset), chosen.out)
    teller.result({"shown": str(file)}, f"wrote {shown(file)}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _stop_with_stdin() -> None:
    """End the program, by way of its own clean-up, when its parent is gone."""
    while os.read(0, 4096):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
