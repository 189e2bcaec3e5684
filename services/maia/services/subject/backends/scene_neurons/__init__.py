"""The subject `scene-neurons`: synthetic units whose truth is known, computed from pixels alone.

`units.json` is the table of what each unit responds to, `table` reads it (the report and tests ask it for the truth; no
RPC returns it), `backend` measures.
"""
