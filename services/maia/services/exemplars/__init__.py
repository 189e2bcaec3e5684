"""The exemplars server: the dataset pictures that drive a unit most, found once and kept on disk."""
