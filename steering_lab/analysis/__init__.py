"""What the tables and the stream look like; nothing here edits a model."""
