"""Name, license and credits that a publisher gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from augment_store.errors import AugmentStoreError

ATTRIBUTIONS: Final = (
    "TerraMind 1.0 by IBM Research and ESA (Jakubik et al. 2025, arXiv:2504.11171), Apache-2.0",
    "TerraTorch (Gomes et al. 2025, arXiv:2503.20563), Apache-2.0",
    "Contains modified Copernicus Sentinel data; elevation: Copernicus DEM, © DLR e.V. 2010-2014 and © Airbus Defence "
    "and Space GmbH 2014-2018, provided under Copernicus by the European Union and ESA",
    "TerraMind's land-cover legend follows Esri Land Cover (Impact Observatory, Esri), CC-BY-4.0",
)

UNSTATED: Final = "other"
"""Identifier of an unstated license, in STAC and on Hugging Face."""


@dataclass(frozen=True)
class PublicationInfo:
    """Name, license and credits of what is published.

    Attributes:
        name: Name of what is published.
        license_id: Identifier of its license.
        attributions: Who to credit for the chip set, besides `ATTRIBUTIONS`.
    """

    name: str
    license_id: str
    attributions: tuple[str, ...] = ()


def check_license(license_id: str) -> None:
    """Make sure that a license is an identifier, as every catalogue expects.

    Raises:
        AugmentStoreError: If it is not.
    """
    # the form of an SPDX identifier; whether SPDX lists it is not looked up
    if not re.fullmatch(r"[A-Za-z0-9.+-]+", license_id):
        raise AugmentStoreError(
            f"--license {license_id!r}: expected an SPDX identifier such as CC-BY-4.0 (https://spdx.org/licenses)"
        )
