"""Weights that steer by themselves: the vector as a bias of what a block adds last.

    resid_post = resid + attention + (W x + b);  b + v steers every token by v

So any runtime that can run the model steers everywhere, at no cost, and cannot be switched off. Only layouts whose last
sum of a block has such a bias, or whose own configuration can give it one, are baked.
"""

import copy
from typing import Any

import torch

from steering_lab.interventions.formats.exchange import Vectors, by_layer, only_row, provenance

FORM = "a model with baked weights"
LAST_PROJECTION = {  # by Hugging Face model type: the linear map whose output is added, unchanged, to the stream
    "gpt2": "transformer.h.{}.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.{}.mlp.dense_4h_to_h",
    "llama": "model.layers.{}.mlp.down_proj",
    "opt": "model.decoder.layers.{}.fc2",
}


@torch.no_grad()
def bake(hf_model: Any, vectors: Vectors, *, coeff: float) -> Any:
    """A copy of the Hugging Face model that steers by `coeff` times the vectors at every token; `save_pretrained` it.

    GPT-2, GPT-NeoX (Pythia) and OPT have the bias. Llama gets one: its configuration's `mlp_bias` becomes true and the
    other biases that this brings are zero. The vector is rounded to the dtype of the weights. Provenance stands in the
    configuration, under `steering_lab`.

    Args:
        hf_model: A model of one of these four kinds; it is left as it is.

    Raises:
        ValueError: another architecture, or one whose block ends in a norm; a layer outside the model, another width,
            or what `by_layer` refuses.
    """
    layers = by_layer(vectors, coeff, FORM)
    rows = {layer: only_row(vector, FORM) for layer, vector in layers.items()}
    config = hf_model.config
    _check(config, rows)
    baked = copy.deepcopy(hf_model)
    if config.model_type == "llama" and not config.mlp_bias:
        _give_biases(baked)
    for layer, row in rows.items():
        bias = baked.get_submodule(LAST_PROJECTION[config.model_type].format(layer)).bias
        if bias is None:
            raise ValueError(f"{config.model_type} was made without the bias that could carry the vector")
        bias.add_(row.to(bias))
    baked.config.steering_lab = provenance(layers)
    return baked


def _check(config: Any, rows: dict[int, torch.Tensor]) -> None:
    if config.model_type not in LAST_PROJECTION:
        raise ValueError(
            f"a block of {config.model_type} has no bias on what it adds last, and none that its configuration could"
            f" give: {', '.join(sorted(LAST_PROJECTION))} can be baked, other models take a GGUF control vector"
        )
    if config.model_type == "opt" and not config.do_layer_norm_before:
        raise ValueError("a block of this OPT model ends in a norm, which would change the vector: it cannot be baked")
    deepest, width = max(rows), len(next(iter(rows.values())))
    if deepest >= config.num_hidden_layers:
        raise ValueError(f"layer {deepest} is outside 0..{config.num_hidden_layers - 1} of this {config.model_type}")
    if width != config.hidden_size:
        raise ValueError(f"the vector is {width} wide, the stream of this {config.model_type} is {config.hidden_size}")


def _give_biases(llama: Any) -> None:
    """Every linear map of every MLP has a bias, of zeros, and the configuration says so."""
    llama.config.mlp_bias = True
    for layer in llama.model.layers:
        for linear in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):
            linear.bias = torch.nn.Parameter(linear.weight.new_zeros(linear.out_features))
