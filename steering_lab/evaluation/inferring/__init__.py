"""Effects: observations into intervals, control bands, choices and tests."""
