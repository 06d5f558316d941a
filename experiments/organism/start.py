"""How do the organism's weights begin? At random, and with the heads that looking something up needs.

To find a name in a context and read what stands with it takes two kinds of head in a row: one hands each token what
stands before it, the next looks for the token that was handed the name asked for (induction heads; Olsson et al. 2022,
arXiv:2209.11895). From a random start no recipe tried brought them forth within nine million tokens, and reading
stayed a guess where two statements were of one kind. Begun with both kinds of head, and with small tables and small
steps, tables are looked up after half a million tokens (the model card has the trials). Training is free to undo it.
"""

import torch
from transformers import LlamaForCausalLM

MATCHING = 4.0  # how much larger than usual the queries and keys of matching heads begin
PLACING = 2.0  # how strongly place-bound heads begin to prefer their place
HANDING = 0.2  # how much of what they find there they hand on


@torch.no_grad()
def give_lookup_heads(model: LlamaForCausalLM) -> None:
    """Sets the first half of every layer's heads, and the other half of the first layer's, in place.

    The first half looks for its own kind: keys equal to queries, and both larger (the query-key part of the mimetic
    initialisation of Trockman and Kolter 2023, arXiv:2305.09828). In the first layer the other heads look one, two,
    ... places back: every embedding shares one direction u, from which they draw a query turned back by that many
    rotary steps, so that the score of two tokens m - n places apart is largest where m - n is the wanted distance.
    """
    config = model.config
    size = config.hidden_size // config.num_attention_heads
    half = config.num_attention_heads // 2
    for layer in model.model.layers:
        query, key = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
        query[: half * size] *= MATCHING
        key[: half * size] = query[: half * size]
    embedding = model.model.embed_tokens.weight
    shared = torch.nn.functional.normalize(torch.randn(config.hidden_size), dim=0).to(embedding)
    embedding += shared * embedding.norm(dim=1).mean()
    angles = 10000.0 ** (-torch.arange(size // 2) * 2 / size)
    attention = model.model.layers[0].self_attn
    for back, head in enumerate(range(half, config.num_attention_heads), start=1):
        rows = slice(head * size, (head + 1) * size)
        turned = torch.cat([torch.cos(back * angles), -torch.sin(back * angles)])
        straight = torch.cat([torch.ones(size // 2), torch.zeros(size // 2)])
        strength = PLACING / size**0.5
        attention.q_proj.weight[rows] = strength * turned[:, None].to(embedding) * shared
        attention.k_proj.weight[rows] = strength * straight[:, None].to(embedding) * shared
        basis = torch.linalg.qr(torch.randn(config.hidden_size, size))[0].to(embedding)
        attention.v_proj.weight[rows] = basis.T * HANDING
        attention.o_proj.weight[:, rows] = basis * HANDING
