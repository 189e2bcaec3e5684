"""The subject server: frozen models under study, and how their units respond to pictures."""
