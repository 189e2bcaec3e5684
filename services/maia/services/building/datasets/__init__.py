"""Datasets of pictures, as they lie on disk: the scene set, folders, tars, and those of Hugging Face.

`dataset` says what a dataset is and opens one by name. The four kinds are `scene_set`, `folder` (whose files `listing`
finds), `tars` (whose members `tar_members` finds) and `rows` (which `hugging_face` opens). `duplicates` finds pictures
that a dataset has twice.
"""
