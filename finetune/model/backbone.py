"""The backbone of stage 2, registered with TerraTorch: TerraMind with room for cached modalities.

`terramind_tim_store` builds any of TerraTorch's TerraMind backbones, loads proven weights into it, and
adds what the encoding needs: new columns of a patch embedding, a modality of its own, or token inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from terratorch.models.backbones.terramind.model.terramind_register import (
    PRETRAINED_BANDS,
    select_modality_patch_embed_weights,
)
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY
from torch import Tensor, nn

from augment_store.modalities.definitions import PATCH_SIZE
from finetune.augment.encodings import PLANES_MODALITY, EncodingPlan, Placement, carrier_of, plan_encoding
from finetune.errors import ConfigError
from terramind_weights.backbone import find_source, load_backbone

NEW_COLUMNS: Final = ("zero", "random")
"""How the new columns of a widened patch embedding may start."""


class WidenedProjection(nn.Linear):
    """A patch embedding's projection for more bands than it was pretrained with.

    The pretrained columns stay one matrix under their own name; the new ones are a second matrix. Their products are
    added, so that with new columns of zero the sum equals the pretrained product, bit for bit.

    Args:
        pretrained: The projection to widen, from ``pixels · bands`` to tokens; its weight is shared.
        planes: Number of new bands.
        new_columns: ``zero``, or ``random`` for Linear's own initialisation.
    """

    def __init__(self, pretrained: nn.Linear, planes: int, new_columns: str) -> None:
        # on "meta": a weight that is replaced at once takes no memory and no random numbers
        super().__init__(pretrained.in_features, pretrained.out_features, bias=False, device="meta")
        self.weight = pretrained.weight
        self.pixels = PATCH_SIZE**2
        self.bands = pretrained.in_features // self.pixels
        with torch.random.fork_rng(devices=[]):  # so that later initialisations equal the baseline's
            self.added = nn.Linear(planes * self.pixels, pretrained.out_features, bias=False)
        if new_columns == "zero":
            nn.init.zeros_(self.added.weight)

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches.

        Args:
            patches: ``[B, N, pixels · (bands + planes)]``, the band running fastest.

        Raises:
            ConfigError: If the input has another number of bands.
        """
        expected = self.in_features + self.added.in_features
        if patches.shape[-1] != expected:
            found, wanted = patches.shape[-1] // self.pixels, expected // self.pixels
            raise ConfigError(
                f"the input has {found} bands, the patch embedding {wanted}; name the same encoding and bands under "
                "data and under model_args"
            )
        # [B, N, pixels · bands] → [B, N, pixels, bands]
        split = patches.reshape(*patches.shape[:-1], self.pixels, -1)
        known, new = split[..., : self.bands], split[..., self.bands :]
        # back to [B, N, pixels · bands], as the pretrained matrix takes it; the new planes likewise
        embedded: Tensor = super().forward(known.flatten(-2)) + self.added(new.flatten(-2))
        return embedded


def take_indices(_: nn.Module, grid: tuple[Tensor]) -> tuple[Tensor]:
    """Take the codebook indices of a grid ``[B, 1, H, W]``, as forward pre-hook of a token embedding.

    `finetune.augment.planes.make_token_grid` has repeated each index over its patch.
    """
    # [B, 1, H, W] → [B, H/16, W/16], the first pixel of each patch
    return (grid[0][:, 0, ::PATCH_SIZE, ::PATCH_SIZE],)


@TERRATORCH_BACKBONE_REGISTRY.register  # type: ignore[untyped-decorator] # terratorch is untyped
def terramind_tim_store(
    architecture: str = "terramind_v1_base",
    modalities: Sequence[Any] = ("S2L2A", "S1RTC", "DEM"),
    encoding: Sequence[str] = (),
    token_modality: str = "LULC",
    new_columns: str = "zero",
    bands: Mapping[str, Sequence[str]] | None = None,
    pretrained: bool = False,
    weights: str | None = None,
    **architecture_arguments: Any,
) -> nn.Module:
    """Build a TerraMind backbone that takes cached modalities.

    Args:
        architecture: Name of TerraTorch's backbone, for example ``terramind_v1_base``.
        modalities: Input modalities, without what the encoding adds.
        encoding: Encodings as in the datamodule, see `finetune.augment.encodings.plan_encoding`.
        token_modality: Modality of the store, for the encoding ``tokens``.
        new_columns: ``zero`` (step 0 equals the baseline) or ``random``, as an ablation.
        bands: Pretrained bands in use, for each modality that does not use all.
        pretrained: Whether to load weights; they are proven to be the ones in use.
        weights: Weight file, or folder with the published files; None for the Hugging Face cache.
        **architecture_arguments: Passed to TerraTorch's builder.

    Raises:
        ConfigError: If an argument is invalid.
        WeightsError: If weights are missing or are not this backbone's.
    """
    plan = plan_encoding(tuple(encoding))
    _check(architecture, plan, new_columns, architecture_arguments)
    if pretrained:
        _check_published(architecture_arguments)
    added = _added_modalities(plan, token_modality)
    # decoder and order of chips then begin with the baseline's random numbers, whatever more the backbone draws
    with torch.random.fork_rng(devices=[], enabled=bool(added)):
        model = _build(architecture, {"modalities": [*modalities, *added], **architecture_arguments})
    if added:
        # built again without, and thrown away: draws the random numbers that the baseline's backbone draws
        _build(architecture, {"modalities": [*modalities], **architecture_arguments})
    if pretrained:
        named = [entry for entry in modalities if isinstance(entry, str)]
        # a user's own modality is a dict of its name and channels, and no published file has weights for it
        own = [name for entry in modalities if isinstance(entry, dict) for name in entry]
        load_backbone(model, architecture, Path(weights) if weights else None, named, (PLANES_MODALITY, *own))
    if bands:
        # after loading, since it picks columns of the published patch embedding
        select_modality_patch_embed_weights(model, _checked_bands(bands, modalities), PRETRAINED_BANDS)
    # last: until here names and shapes are those of the published file
    _make_room(model, plan, carrier_of(modalities), token_modality, new_columns)
    return model


def _check(
    architecture: str, plan: EncodingPlan, new_columns: str, architecture_arguments: Mapping[str, Any]
) -> None:
    if "ckpt_path" in architecture_arguments:  # TerraTorch loads what fits and leaves the rest random
        raise ConfigError(
            f"backbone_ckpt_path {architecture_arguments['ckpt_path']}: not proven to be in use; give the file as "
            "backbone_weights, with backbone_pretrained: true"
        )
    if new_columns not in NEW_COLUMNS:
        raise ConfigError(f"new_columns {new_columns!r}; expected {' or '.join(NEW_COLUMNS)}")
    if architecture.endswith("_tim") and plan.placement is not Placement.NOWHERE:
        raise ConfigError(
            f"backbone {architecture!r} generates by itself and takes no cached modalities; use {architecture[:-4]!r}"
        )


def _check_published(arguments: Mapping[str, Any]) -> None:
    """Make sure that published weights can fit this backbone."""
    if arguments.get("merge_method") == "concat":
        raise ConfigError(
            "merge_method concat adds a parameter that no published file has and TerraTorch never initialises; "
            "use mean, or train from random weights"
        )
    size = arguments.get("img_size", 224)
    if size != 224:
        raise ConfigError(
            f"img_size {size}: published weights have positions of 224 pixels; leave it out; they are interpolated for "
            "chips of other sizes"
        )


def _added_modalities(plan: EncodingPlan, token_modality: str) -> list[str | dict[str, int]]:
    """Return the modalities that the encoding adds, as TerraTorch names them: a new one with its number of channels."""
    if plan.placement is Placement.MODALITY:
        return [{PLANES_MODALITY: plan.channels}]
    return [token_modality] if plan.placement is Placement.TOKENS else []


def _build(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build TerraTorch's backbone with random weights."""
    find_source(architecture)  # a plug-in registers its backbones when it is loaded
    if architecture not in TERRATORCH_BACKBONE_REGISTRY:
        raise ConfigError(f"unknown backbone {architecture!r}; expected a TerraMind backbone of TerraTorch")
    with warnings.catch_warnings():  # weights are loaded later, with proof
        warnings.filterwarnings("ignore", message="TerraMind TiM model not pre-trained")
        model: nn.Module = TERRATORCH_BACKBONE_REGISTRY.build(architecture, pretrained=False, **arguments)
    return model


def _checked_bands(bands: Mapping[str, Sequence[str]], modalities: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the bands, after making sure that they are of modalities that are inputs."""
    strange = [name for name in bands if name not in modalities]
    if strange:
        raise ConfigError(
            f"bands of {strange[0]!r}, which is not an input; inputs are {', '.join(modalities)}"
        )
    return dict(bands)


def _make_room(model: Any, plan: EncodingPlan, carrier: str, token_modality: str, new_columns: str) -> None:
    """Add what the encoding needs; a modality of its own is there already, since TerraTorch builds it."""
    if plan.placement is Placement.BANDS:
        # TerraTorch's own key of a modality, such as untok_sen2l2a@224
        embedding = model.encoder_embeddings[model.mod_name_mapping[carrier]]
        embedding.proj = WidenedProjection(embedding.proj, plan.channels, new_columns)
    elif plan.placement is Placement.TOKENS:
        embedding = model.encoder_embeddings[model.mod_name_mapping[token_modality]]
        embedding.register_forward_pre_hook(take_indices)
        model.tokenizer = nn.ModuleDict()  # the indices are cached, so there is nothing to tokenise
