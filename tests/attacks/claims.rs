//! Attacks on shares: what a worker may claim, and when.

use super::Shown::{self, By};

pub(crate) const TABLE: &[(&str, Shown)] = &[
    (
        "share replayed",
        By(&[
            "share_that_is_replayed_counts_once",
            "share_twice_in_one_batch_counts_once",
            "any_story_has_the_answers_of_the_model_alone_and_at_once",
        ]),
    ),
    (
        "duplicate share, or its header under another job",
        By(&[
            "same_header_under_another_job_counts_once",
            "set_takes_each_key_once_up_to_its_limit",
        ]),
    ),
    (
        "share paid twice after a reconnect, a restart or a reorg",
        By(&[
            "share_counted_before_a_reconnect_is_not_counted_again",
            "chain_that_returns_to_a_tip_needs_another_space",
        ]),
    ),
    (
        "stale job",
        By(&[
            "share_of_a_job_of_the_tip_before_is_stale_and_costs_no_hash",
            "grace_takes_the_tip_before_for_its_seconds_and_counts_each_share_once",
            "oldest_job_is_forgotten_above_the_limit",
        ]),
    ),
    ("wrong target", By(&["share_above_its_target_is_low_and_at_it_good"])),
    (
        "another worker's or channel's share",
        By(&[
            "share_of_another_worker_or_channel_is_refused",
            "extranonce_of_more_bytes_than_the_job_has_room_for_is_not_the_workers_space",
            "job_is_assigned_in_rising_order_on_the_tip_and_into_its_space",
        ]),
    ),
    (
        "difficulty change in flight",
        By(&[
            "share_found_before_a_change_of_target_keeps_its_worth",
            "vardiff_counts_late_shares_of_older_jobs_by_their_worth",
            "tiny_shares_are_counted_to_the_last_hash_over_changes_of_target_and_job",
        ]),
    ),
    (
        "time-stamp games",
        By(&[
            "share_outside_its_time_window_is_refused",
            "shares_above_the_budget_of_a_second_are_refused_whatever_their_hash",
        ]),
    ),
    (
        "share that was not found, or is claimed to be worth more",
        By(&[
            "share_is_worth_its_assigned_target_whatever_its_hash",
            "share_with_any_bit_changed_is_not_the_one_that_was_found",
            "version_may_differ_within_the_mask_only",
            "checks_come_in_their_order",
        ]),
    ),
    (
        "flood of shares",
        By(&[
            "shares_above_the_budget_of_a_second_are_refused_whatever_their_hash",
            "shares_above_the_budget_of_a_tip_are_refused_until_the_next",
        ]),
    ),
    (
        "impossible jobs and targets",
        By(&[
            "job_with_an_impossible_target_or_window_is_refused",
            "job_with_bits_outside_bip320_is_refused_and_each_bit_inside_taken",
            "coinbase_above_its_limits_is_refused_and_at_them_taken",
        ]),
    ),
    (
        "blocks withheld",
        By(&["suspicion_begins_where_an_honest_worker_is_unlucky_once_in_a_million"]),
    ),
];
