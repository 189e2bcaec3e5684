"""Makes synthetic neurons on photographs: their exemplars and label file in MAIA's format; a program, not a server.

`choosing` says which pictures come into question for a unit, `ranking` runs it over them, `finished` keeps each unit's
result until all are there, and `writing` lays them out. `creating` is the whole.
"""
