"""Stage 1: TerraMind in generate mode over a chip set, written into an augment store.

>>> from generate import generate
>>> store = generate("data/nyc", "stores/nyc_lulc", generator="demo", accelerator="cpu", top_k=1)
>>> store.spec.generator, store.map_names
('demo', ('tokens', 'token_probability', 'lulc', 'confidence'))

If it was interrupted, the same call resumes; it leaves a complete store as it is. The audit that begins every run can
also be called on its own:

>>> from augment_store import ChipSet
>>> from generate import Units, audit_chips
>>> audit_chips(ChipSet.open("data/nyc"), ["S2L2A", "S1RTC", "DEM"], Units()).stops
()
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

import terramind_weights  # noqa: F401 - before TerraTorch, so that it runs no code of the working folder

__all__ = ["GenerateOptions", "Units", "audit_chips", "generate"]

if TYPE_CHECKING:
    from augment_store.chips.units import Units
    from generate.api import generate
    from generate.audit.audit import audit_chips
    from generate.options import GenerateOptions
else:
    __getattr__, __dir__, _ = lazy.attach(
        __name__,
        submod_attrs={
            "api": ["generate"],
            "audit.audit": ["audit_chips"],
            "options": ["GenerateOptions"],
            "requests": ["Units"],
        },
    )
