"""Exemplar files of MAIA and MILAN into the store and out of it, and contact sheets; a program, not a server."""
