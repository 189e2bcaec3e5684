"""The description server: words for pictures, or for the highlighted parts of pictures."""
