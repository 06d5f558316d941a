"""Retrieval and steering together: the nearest passage before a question, and steering where it is in conflict."""
