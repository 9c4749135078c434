"""Stage 1: TerraMind in generate mode over a chip set, written into an augment store.

>>> from generate import generate
>>> store = generate("data/nyc", "stores/nyc_lulc", generator="demo", accelerator="cpu", top_k=1)
>>> store.spec.generator, store.map_names
('demo', ('tokens', 'token_probability', 'lulc', 'confidence'))

Interrupted, the same call resumes; of a store that is complete it makes nothing anew. The audit that every run begins
with is there by itself too:

>>> from augment_store import ChipSet
>>> from generate import Units, audit_chips
>>> audit_chips(ChipSet.open("data/nyc"), ["S2L2A", "S1RTC", "DEM"], Units()).stops
()
"""

from typing import TYPE_CHECKING

from augment_store.doors import offer

__all__ = ["Units", "audit_chips", "generate"]

if TYPE_CHECKING:
    from generate.api import generate
    from generate.audit.audit import audit_chips
    from generate.units import Units
else:
    __getattr__, __dir__ = offer(
        __name__,
        {
            "Units": "generate.units",
            "audit_chips": "generate.audit.audit",
            "generate": "generate.api",
        },
    )
