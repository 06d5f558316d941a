"""How a model comes to be here: one file for each kind of thing that `load_model` takes."""

from steering_lab.models.loading.load import load_model

__all__ = ["load_model"]
