"""The synthetic model: its world and wording, its weights and their card. Trained by `experiments/organism`."""
