"""Contact sheets: what the store knows of one unit, as a picture or as a page."""
