"""How a session is isolated: one package a tier."""
