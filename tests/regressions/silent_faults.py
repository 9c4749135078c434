"""Every silent fault found so far: what was wrong, and the test named for what holds now."""

from typing import NamedTuple


class Fault(NamedTuple):
    """One fault.

    Attributes:
        story: What happened, and to whom.
        test: Name of the test that fails if it comes back.
    """

    story: str
    test: str


SILENT_FAULTS = (
    # weights
    Fault(
        "A published file given to TerraTorch as `ckpt_path` loads nothing: the generator is random.",
        "test_published_files_load_with_proof_and_their_digests",
    ),
    Fault(
        "A checkpoint of another network was loaded as far as its names fitted, and scored.",
        "test_only_a_checkpoint_of_this_very_network_is_opened_or_resumed",
    ),
    Fault(
        "Lightning's `last.ckpt` is the best again: resuming lost epochs, and `--checkpoint last` scored the best.",
        "test_the_last_checkpoint_is_the_last_and_not_the_best_again",
    ),
    Fault(
        "New bands got random patch-embedding columns, so that an arm did not start where its baseline did.",
        "test_new_columns_of_zero_change_no_bit",
    ),
    Fault(
        "A backbone with a modality more moved the random numbers on: the decoder was not the baseline's.",
        "test_an_arm_with_a_modality_more_begins_as_the_baseline_of_its_seed",
    ),
    # data
    Fault(
        "Radar of −9999 in float16 is −10000, a DEM's −32768 is a height: both were trained on.",
        "test_stage_2_knows_the_no_data_values_of_each_modality",
    ),
    Fault(
        "Missing float16 radar was drawn as −10,000 dB.",
        "test_missing_radar_is_black_also_where_float16_rounded_it",
    ),
    Fault(
        "NDVI was +1 where a band was missing or negative.",
        "test_ndvi_needs_two_bands_that_are_there_and_not_negative",
    ),
    Fault(
        "A series of three timesteps wrapped around where four were asked for.",
        "test_one_raster_stands_for_every_timestep_and_a_series_is_never_wrapped_around",
    ),
    Fault(
        "Phase 2 gave TerraMind linear radar power; every value was far from what it was pretrained on.",
        "test_linear_power_is_found_and_accepted_with_the_right_unit",
    ),
    Fault(
        "A fine-tune standardized values by a preset of other units than those of its layout.",
        "test_a_preset_is_not_taken_for_values_in_other_units",
    ),
    Fault(
        "The control `analytic-ndvi` ignored `--s2-offset`: it compared another NDVI than the store's.",
        "test_the_controls_offset_is_the_named_stores",
    ),
    Fault(
        "TerraTorch lays out the tokens of 64 × 256 px as those of a square, scrambled.",
        "test_as_many_tokens_as_in_a_square_would_be_laid_out_as_one",
    ),
    Fault(
        "Scenes called `a/b` and `a_b` have one file name: the mosaic kept only the last.",
        "test_scenes_that_would_overwrite_each_others_files_are_refused",
    ),
    # the store
    Fault(
        "A chip's map depended on the batch that it was generated in.",
        "test_a_batch_gives_each_image_what_it_gets_alone",
    ),
    Fault(
        "A checksum guards bytes, not whose they are: swapped chunks passed `verify`.",
        "test_chunks_that_changed_places_are_found",
    ),
    Fault("Scenes swapped between chips passed `verify`.", "test_scenes_that_changed_places_are_found"),
    Fault(
        "A shard deleted from a store read as fill values and was trained on.",
        "test_a_missing_shard_is_not_taken_for_fill_values",
    ),
    Fault(
        "Consolidated metadata, which xarray reads first, could say anything.",
        "test_consolidated_metadata_is_verified_and_written_anew",
    ),
    Fault(
        "A lost chunk of `chip_id` was announced anew over old states: chips got other chips' maps.",
        "test_lost_ids_are_refused_and_restored",
    ),
    Fault(
        "A history kept passwords and tokens of URLs, and so did everyone who was given the store.",
        "test_a_history_has_no_password_and_no_token",
    ),
    # training and comparison
    Fault(
        "A draw among a store's samples moved torch's random numbers on: arms saw their chips in other orders.",
        "test_drawing_among_samples_shifts_nothing_that_the_baseline_draws",
    ),
    Fault(
        "A control with a store at a URL dropped the store's scenes.",
        "test_a_control_keeps_the_scenes_of_a_store_at_a_url",
    ),
    Fault(
        "Test chips of a set split anew after the training could be those trained on.",
        "test_chips_that_may_have_been_trained_on_are_not_a_test",
    ),
    Fault(
        "Twice the epochs, or another learning rate, was claimed as an improvement by the maps.",
        "test_arms_that_were_trained_in_another_way_claim_nothing",
    ),
    Fault(
        "Arms that began with other weights were compared as if the maps were the only difference.",
        "test_arms_that_began_with_other_weights_claim_nothing",
    ),
    Fault(
        "The best checkpoint of one arm was compared with the last of another.",
        "test_arms_scored_by_another_rule_for_the_checkpoint_claim_nothing",
    ),
    Fault(
        "Runs of other package versions or devices were compared as equals.",
        "test_runs_of_other_versions_or_devices_claim_nothing",
    ),
    Fault(
        "0.62 − 0.60 is above 0.02 in floating point, and was graded a strong improvement.",
        "test_differences_at_an_edge_are_the_edge",
    ),
    Fault(
        "A model card gave the numbers of another checkpoint than its own.",
        "test_the_card_has_the_numbers_of_its_own_checkpoint",
    ),
    # files of others
    Fault(
        "A shared run imported whatever module its configuration named.",
        "test_the_parser_imports_nothing_else_either",
    ),
    Fault(
        "Classes written as one text (`'{\"class_path\": …}'`) escaped that check.",
        "test_whatever_is_not_listed_at_its_key_is_refused",
    ),
    Fault(
        "Two classes of a legend came out in one color.",
        "test_classes_lie_apart_for_every_reader",
    ),
)
