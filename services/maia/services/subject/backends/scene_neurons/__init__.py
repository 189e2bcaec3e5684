"""The subject `scene-neurons`: synthetic units whose truth is known, computed from pixels alone.

`units.json` is the table of what each unit responds to, and `table` reads it: the report and tests ask it for the
truth, and no RPC returns it. `seeing` says what is on a picture, `responses` and `controls` how units respond to it;
`backend` is the subject.
"""
