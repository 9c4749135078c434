"""Classes and arguments that the configuration of a recorded run may name, each at its own key.

Every class is listed by its full path and is built from numbers, words and lists alone; none takes a function, the name
of one, or a file. `tests/finetune/run/test_known_classes.py` checks that against the installed libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _in(package: str, names: str) -> Mapping[str, str]:
    """Map the short and the full name of each class to its full class path."""
    paths = {name: f"{package}.{name}" for name in _words(names)}
    # a class may be named by its short or its full name
    return {**paths, **{path: path for path in paths.values()}}


TASK: Final = "terratorch.tasks.SemanticSegmentationTask"
FACTORY: Final = "EncoderDecoderFactory"

OPTIMIZER_NAMES: Final = (
    "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS NAdam RAdam RMSprop Rprop SGD SparseAdam"
)
SCHEDULER_NAMES: Final = (
    "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts ExponentialLR LinearLR MultiStepLR OneCycleLR "
    "PolynomialLR ReduceLROnPlateau StepLR"
)
"""Schedulers without a function among their arguments: no LambdaLR, MultiplicativeLR or CyclicLR."""

OPTIMIZERS: Final = _in("torch.optim", OPTIMIZER_NAMES)
SCHEDULERS: Final = {
    **_in("torch.optim.lr_scheduler", SCHEDULER_NAMES),
    **_in("lightning.pytorch.cli", "ReduceLROnPlateau"),  # what the parser means by the short name
}

CALLBACKS: Final = _in(
    "lightning.pytorch.callbacks",
    "DeviceStatsMonitor EarlyStopping GradientAccumulationScheduler LearningRateMonitor ModelSummary RichModelSummary "
    "RichProgressBar StochasticWeightAveraging Timer TQDMProgressBar",
)

COMPOSITIONS: Final = _in("albumentations", "Compose OneOf RandomOrder Sequential SomeOf")
"""Transforms that hold other transforms, under the key `transforms`."""

TRANSFORMS: Final = {
    **_in(
        "albumentations",
        "AdvancedBlur Affine AutoContrast Blur CLAHE CenterCrop ChannelDropout ChannelShuffle "
        "ChromaticAberration CoarseDropout ColorJitter ConstrainedCoarseDropout Crop CropAndPad "
        "CropNonEmptyMaskIfExists D4 Defocus Downscale ElasticTransform Emboss Erasing FancyPCA FromFloat "
        "GaussNoise GaussianBlur GlassBlur GridDistortion GridDropout GridElasticDeform HorizontalFlip "
        "HueSaturationValue ISONoise Illumination ImageCompression InvertImg LongestMaxSize MaskDropout "
        "MedianBlur Morphological MotionBlur MultiplicativeNoise NoOp Normalize OpticalDistortion Pad "
        "PadIfNeeded Perspective PiecewiseAffine PixelDropout PlanckianJitter PlasmaBrightnessContrast "
        "PlasmaShadow Posterize RGBShift RandomBrightnessContrast RandomCrop RandomCropFromBorders "
        "RandomFog RandomGamma RandomGravel RandomGridShuffle RandomRain RandomResizedCrop RandomRotate90 "
        "RandomScale RandomShadow RandomSizedCrop RandomSnow RandomSunFlare RandomToneCurve Resize "
        "RingingOvershoot Rotate SafeRotate SaltAndPepper Sharpen ShiftScaleRotate ShotNoise "
        "SmallestMaxSize Solarize Spatter SquareSymmetry Superpixels ThinPlateSpline ToFloat ToGray ToRGB "
        "ToSepia Transpose UnsharpMask VerticalFlip XYMasking ZoomBlur",
    ),
    **_in("albumentations.pytorch", "ToTensorV2"),
    **_in(
        "terratorch.datasets.transforms",
        "FlattenSamplesIntoChannels FlattenTemporalIntoChannels Padding Rearrange SelectBands "
        "UnflattenSamplesFromChannels UnflattenTemporalFromChannels",
    ),
}

METRICS: Final = _words("mIoU mIoU_Micro F1_Score Accuracy Pixel_Accuracy Boundary_mIoU")
CLASS_METRICS: Final = ("IoU", "Class_Accuracy")
"""Metrics that TerraTorch's task logs, the last two for each class, as `val/IoU_0`."""

LOSSES: Final = frozenset({"ce", "dice", "focal", "jaccard", "lovasz"})

NECKS: Final = frozenset(
    _words(
        "AddBottleneckLayer AggregateTokens FeaturePyramidNetworkNeck InterpolateToPyramidal "
        "LearnedInterpolateToPyramidal MaxpoolToPyramidal PermuteDims ReshapeTokensToImage SelectIndices"
    )
)
DECODERS: Final = frozenset(
    {
        *_words("FCNDecoder IdentityDecoder LinearDecoder MLPDecoder UNetDecoder UperNetDecoder"),
        *(
            f"smp_{name}"
            for name in _words(
                "DeepLabV3 DeepLabV3Plus FPN Linknet MAnet PAN PSPNet UPerNet Unet UnetPlusPlus"
            )
        ),
    }
)
"""Necks and decoders by their name in TerraTorch's registries, with or without the prefix `terratorch_`."""


def _prefixed(prefix: str, names: str) -> Iterable[str]:
    return (prefix + name for name in _words(names))


MODEL_ARGUMENTS: Final = frozenset(
    {
        *_prefixed(
            "backbone_",
            "pretrained modalities bands new_columns encoding token_modality tim_modalities merge_method img_size "
            "use_temporal temporal_pooling temporal_n_timestamps temporal_concat temporal_features_permute_op "
            "temporal_subset_lengths padding drop_path_rate drop_rate attn_drop_rate modality_drop_rate",
        ),
        *_prefixed(
            "decoder_",
            "channels num_classes num_convs in_index out_index out_dim upsampling_size activation "
            "use_batchnorm attention_type pool_scales align_corners scale_modules decoder_channels "
            "decoder_use_norm decoder_use_batchnorm "
            "decoder_attention_type decoder_pyramid_channels decoder_segmentation_channels decoder_merge_policy "
            "decoder_dropout decoder_interpolation decoder_atrous_rates decoder_aspp_separable decoder_aspp_dropout",
        ),
        *_prefixed("head_", "dropout channel_list"),
        *("num_classes", "rescale", "image_size_out"),
    }
)
"""Keys of `model_args` that take numbers, words and lists of them.

The backbone's `ckpt_path` and its layers, and the encoder of a decoder of segmentation_models_pytorch, are left out:
they are read or imported by name.
"""

LORA: Final = frozenset(
    _words(
        "r lora_alpha lora_dropout bias fan_in_fan_out use_rslora use_dora layers_to_transform "
        "init_lora_weights"
    )
)
"""Arguments of peft's LoraConfig that take numbers and words; its `megatron_core`, for one, is imported by name."""

LORA_LAYERS: Final = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
"""Arguments of peft's LoraConfig that take names of layers, which may hold dots."""

TASK_ARGUMENTS: Final = frozenset(
    _words(
        "class_weights ignore_index lr lr_overrides optimizer_hparams freeze_backbone freeze_decoder "
        "freeze_head plot_on_val tiled_inference_parameters test_dataloaders_names output_on_inference "
        "output_most_probable tiled_inference_on_testing tiled_inference_on_validation aux_loss"
    )
)
"""Keys of the task that take numbers, words and lists of them; not `path_to_record_metrics`, which writes files."""

DATA_ARGUMENTS: Final = frozenset(
    _words(
        "modalities bands timesteps no_data_value no_data_replace means stds batch_size num_workers "
        "encoding control control_seed allow_scene_overlap memory_limit_mb limit_chips"
    )
)
DATA_PATHS: Final = frozenset(
    _words("data_root augment layout train_split val_split test_split predict_split")
)
"""Keys of the datamodule that name a folder or a file."""

TRAINER_ARGUMENTS: Final = frozenset(
    _words(
        "devices num_nodes precision fast_dev_run max_epochs min_epochs max_steps min_steps max_time "
        "limit_train_batches limit_val_batches limit_test_batches limit_predict_batches overfit_batches "
        "val_check_interval check_val_every_n_epoch num_sanity_val_steps log_every_n_steps "
        "enable_checkpointing enable_progress_bar enable_model_summary accumulate_grad_batches "
        "gradient_clip_val gradient_clip_algorithm deterministic benchmark inference_mode "
        "use_distributed_sampler detect_anomaly barebones sync_batchnorm reload_dataloaders_every_n_epochs "
        "enable_autolog_hparams"
    )
)
ACCELERATORS: Final = frozenset({"auto", "cpu", "cuda", "gpu", "hpu", "mps", "tpu"})
STRATEGIES: Final = frozenset(
    _words(
        "auto ddp ddp_find_unused_parameters_false ddp_find_unused_parameters_true ddp_fork ddp_notebook "
        "ddp_spawn deepspeed deepspeed_stage_1 deepspeed_stage_2 deepspeed_stage_3 fsdp"
    )
)
OURS: Final = frozenset({"logger", "profiler", "plugins", "default_root_dir", "model_registry"})
"""Keys of the trainer that are always our own: what a recorded run says there is left out."""
