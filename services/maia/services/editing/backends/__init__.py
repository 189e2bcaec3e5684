"""The models themselves."""
