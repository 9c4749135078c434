"""A published store as Croissant JSON-LD with GeoCroissant's fields.

Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html) and GeoCroissant 1.0
(https://docs.mlcommons.org/croissant/docs/croissant-geo-spec.html).
"""

from __future__ import annotations

from typing import Any, Final

from augment_store.publish.facts import StoreFacts
from augment_store.publish.imprint import UNSTATED
from augment_store.publish.stac import COLLECTION

CROISSANT: Final = "croissant.json"

_TERMS: Final = (
    *("citeAs", "recordSet", "field", "source", "extract", "fileProperty", "includes", "containedIn", "key"),
    *(
        "column",
        "fileObject",
        "fileSet",
        "format",
        "md5",
        "references",
        "regex",
        "repeated",
        "replace",
        "separator",
    ),
    *("subField", "transform", "jsonPath", "parentField", "path", "isLiveDataset", "arrayShape", "isArray"),
)
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "geocr": "http://mlcommons.org/croissant/geo/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{term: f"cr:{term}" for term in _TERMS},
}


def croissant_json(facts: StoreFacts, collection_sha256: str) -> dict[str, Any]:
    """The description as plain JSON-LD values.

    Args:
        facts: What is said of the store.
        collection_sha256: Of the collection's file beside it.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0"],
        "name": facts.imprint.name,
        "description": facts.lineage,
        "license": _licence(facts.imprint.licence),
        **({"url": f"https://huggingface.co/datasets/{facts.repo}"} if facts.repo else {}),
        "creator": {
            "@type": "Organization",
            "name": facts.repo.split("/")[0] if facts.repo else facts.imprint.name,
        },
        "creditText": "; ".join(facts.imprint.attributions),
        "datePublished": facts.date,
        "version": "1.0.0",
        **_geography(facts),
        "distribution": _distribution(facts, collection_sha256),
        "recordSet": _classes(facts),
    }


def _licence(licence: str) -> str:
    return licence if licence == UNSTATED else f"https://spdx.org/licenses/{licence}.html"


def _geography(facts: StoreFacts) -> dict[str, Any]:
    """Place, system and resolution, each where it is known and the same for all chips."""
    found: dict[str, Any] = {}
    if facts.places.box is not None:
        west, south, east, north = facts.places.box
        shape = {"@type": "GeoShape", "box": f"{south} {west} {north} {east}"}
        found["spatialCoverage"] = {"@type": "Place", "geo": shape}
    if len(facts.places.systems) == 1:
        found["geocr:coordinateReferenceSystem"] = facts.places.systems[0]
    if facts.places.metres is not None:
        metres = {"@type": "QuantitativeValue", "value": facts.places.metres, "unitText": "m"}
        found["geocr:spatialResolution"] = metres
    bands = list(facts.spec.map.modality.bands)
    found["geocr:bandConfiguration"] = {
        "@type": "geocr:BandConfiguration",
        "geocr:totalBands": len(bands),
        "geocr:bandNameList": bands,
    }
    return found


def _distribution(facts: StoreFacts, collection_sha256: str) -> list[dict[str, Any]]:
    collection = {
        "@type": "cr:FileObject",
        "@id": COLLECTION,
        "name": COLLECTION,
        "description": "STAC collection",
        "contentUrl": COLLECTION,
        "encodingFormat": "application/json",
        "sha256": collection_sha256,
    }
    store = {
        "@type": "cr:FileSet",
        "@id": "store",
        "name": "store",
        "description": "Zarr group of all chips",
        "encodingFormat": "application/vnd.zarr",
        "includes": f"{facts.folder}/**",
    }
    return [collection, store]


def _classes(facts: StoreFacts) -> list[dict[str, Any]]:
    """The legend as an enumeration; the maps themselves are Zarr chunks, which Croissant has no reader for."""
    if facts.spec.map.continuous:
        return []
    kinds = {"value": "sc:Integer", "name": "sc:Text"}
    return [
        {
            "@type": "cr:RecordSet",
            "@id": "classes",
            "name": "classes",
            "description": "Class values of the maps",
            "dataType": "sc:Enumeration",
            "key": {"@id": "classes/value"},
            "field": [
                {"@type": "cr:Field", "@id": f"classes/{name}", "name": name, "dataType": kind}
                for name, kind in kinds.items()
            ],
            "data": [
                {"classes/value": entry.value, "classes/name": entry.name} for entry in facts.spec.map.legend
            ],
        }
    ]
