"""The editing server: pictures from a picture and an instruction."""
