"""Finds the exemplars of a subject: one pass over a dataset, in one process or many."""
