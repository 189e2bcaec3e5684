"""The report: pages and files that are derived from journals, and from nothing else (design D7).

    reader  ─ journal ─▶ gallery (pictures) ─┬▶ results  (the row of a table)
                                             └▶ story    (rounds) ─▶ page ─▶ experiment.html

`write_unit` writes one unit's files, `write_index` the index, `rebuild` brings a whole results folder up to date, and
`collect` only reads.
"""

from maia.orchestrator.report.index import rebuild, unit_folders, write_index
from maia.orchestrator.report.results import UnitResult, collect
from maia.orchestrator.report.unit import write_unit

__all__ = ["UnitResult", "collect", "rebuild", "unit_folders", "write_index", "write_unit"]
