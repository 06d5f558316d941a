"""What we ask: pairs, worlds and prompts, as plain values without torch."""
