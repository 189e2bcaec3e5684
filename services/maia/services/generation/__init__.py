"""The generation server: pictures from text."""
