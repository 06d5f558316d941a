"""The reference: TransformerLens's own forward pass, with every hook point it has."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from steering_lab.models.hook_points import HookSite
from steering_lab.models.runtimes import Hook, RuntimeName
from steering_lab.models.runtimes.cache import growing_cache


class HookedRuntime:
    """A TransformerBridge or HookedTransformer, the `backend` (`Runtime`)."""

    name: ClassVar[RuntimeName] = "hooked"
    attention: ClassVar[str] = "eager"  # the only one whose patterns TransformerLens can show

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._placed: list[set[tuple[int, int]]] = []  # hooks of `placed`: module and torch's id
        self._n_own = 0

    def forward(
        self,
        ids: Int[Tensor, "batch new"],
        mask: Bool[Tensor, "batch pos"],
        positions: Int[Tensor, "batch new"],
        cache: Any = None,
        *,
        last: int | None = None,
        depth: int | None = None,
    ) -> Float[Tensor, "batch _ d_vocab"] | None:
        if lost := self._n_placed - self._n_in_force:
            raise ValueError(
                f"{lost} hooks of the block under way are no longer on model.backend: inside a steering block take off"
                " your own hooks alone, not all of them by reset_hooks()"
            )
        options: dict[str, Any] = {"return_type": "logits", "attention_mask": mask.long()}
        if depth is not None and depth < int(self.backend.cfg.n_layers):
            options["stop_at_layer"] = depth
        if cache is not None and self.is_bridge:
            options |= {"past_key_values": cache, "use_cache": True}
            if self._takes_positions:  # left to itself, a hybrid model may count them in a layer that keeps no tokens
                options["position_ids"] = positions.clamp(min=0)
        elif cache is not None:  # HookedTransformer keeps the mask of the past inside its cache
            options |= {"past_kv_cache": cache, "attention_mask": mask[:, -ids.shape[1] :].long()}
        elif self.is_bridge:
            options["use_cache"] = False
        logits = self.backend(ids, **options)
        if depth is not None:
            return None
        return logits if last is None else logits[:, -last:]

    def new_cache(self, batch: int, room: int | None = None) -> Any:
        if self.is_bridge:
            return growing_cache(self.backend.original_model.config, room)
        from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

        device = next(self.backend.parameters()).device
        return TransformerLensKeyValueCache.init_cache(self.backend.cfg, device, batch)

    def placed(self, hooks: Mapping[HookSite, Hook]) -> AbstractContextManager[None]:
        return self.named({site.name: run for site, run in hooks.items()})

    @contextmanager
    def named(self, hooks: Mapping[str, Hook]) -> Iterator[None]:
        """`hooks` placed at any of TransformerLens's hook points, by name."""
        before = self._forward_ids()
        with self.backend.hooks(fwd_hooks=[(name, _named(run)) for name, run in hooks.items()]):
            mine = self._forward_ids() - before
            self._placed.append(mine)
            try:
                yield
            finally:
                self._placed.remove(mine)

    @property
    def selects(self) -> bool:
        return self.is_bridge

    @property
    def is_bridge(self) -> bool:
        return hasattr(self.backend, "original_model")

    @property
    def n_foreign(self) -> int:
        """How many hooks, of TransformerLens or of torch, hang on the backend's modules besides those of `placed`."""
        return self._n_hooks() - self._n_own - self._n_in_force

    def settle(self) -> None:
        """What hangs on the backend now is its own: TransformerLens places some hooks in the first pass."""
        self._n_own = self._n_hooks() - self._n_in_force

    @property
    def _n_placed(self) -> int:
        return sum(map(len, self._placed))

    @property
    def _n_in_force(self) -> int:
        """How many hooks of `placed` still hang where they were placed."""
        return sum(key in self._modules[module]._forward_hooks for placed in self._placed for module, key in placed)

    def _forward_ids(self) -> set[tuple[int, int]]:
        return {(i, key) for i, module in enumerate(self._modules) for key in module._forward_hooks}

    def _n_hooks(self) -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in self._modules)

    @cached_property
    def _modules(self) -> list[torch.nn.Module]:
        return list(self.backend.modules())

    @cached_property
    def _takes_positions(self) -> bool:
        if find_spec("transformer_lens.utilities.position_ids") is None:  # TransformerLens 3 counts them from the mask
            return False
        from transformer_lens.utilities.position_ids import accepts_mask_derived_position_ids

        return accepts_mask_derived_position_ids(self.backend.original_model)


def _named(run: Hook) -> Callable[..., Tensor | None]:
    return lambda resid, hook=None: run(resid)
