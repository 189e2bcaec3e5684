"""The command line: the one place that knows all parts, and loads each when it is used."""
