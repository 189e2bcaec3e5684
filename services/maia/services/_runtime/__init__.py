"""What all servers are made of: the thread that owns a model, settings, and the program around a server."""
