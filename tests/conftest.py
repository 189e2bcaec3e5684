"""What all tests share."""

from hypothesis import settings

# Hypothesis would fail an example that takes 200 ms, and no test asserts a time.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
