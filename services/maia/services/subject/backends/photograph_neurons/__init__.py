"""The subject `synthetic_neurons`: units of known truth over photographs, found by open-vocabulary detection.

`table` reads what each unit responds to from MAIA's label files; no RPC returns it. `detecting` says what a detector
is, and `responses` how units respond to what it finds. `grounded_sam` is the detector: GroundingDINO (`grounding`)
finds a concept's boxes, SAM (`segmenting`) what is in them, and `loading` takes both from their files. `backend` is the
subject. Importing the package, or `backend`, imports no torch.
"""
