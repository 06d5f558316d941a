"""Vectors for other tools, and from them: every file holds coeff x vector, so each tool applies it with strength 1.

An exported file steers as `coeff * vector.everywhere()` does, unless its format says where (EasySteer). What a format
cannot say is refused at the door. Nothing is ever unpickled beyond tensors.
"""

from steering_lab.interventions.formats.baked import bake
from steering_lab.interventions.formats.bare import read_tensor
from steering_lab.interventions.formats.easysteer import export_easysteer, read_easysteer
from steering_lab.interventions.formats.gguf import export_gguf, read_gguf
from steering_lab.interventions.formats.neuronpedia import export_neuronpedia, read_neuronpedia
from steering_lab.interventions.formats.svec import export_svec, read_svec
from steering_lab.interventions.formats.torch_files import (
    export_caa,
    export_steering_vectors,
    read_caa,
    read_steering_vectors,
)

__all__ = [
    "bake",
    "export_caa",
    "export_easysteer",
    "export_gguf",
    "export_neuronpedia",
    "export_steering_vectors",
    "export_svec",
    "read_caa",
    "read_easysteer",
    "read_gguf",
    "read_neuronpedia",
    "read_steering_vectors",
    "read_svec",
    "read_tensor",
]
