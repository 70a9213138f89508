//! Attacks on batches, receipts, holds and the hub.

use super::Shown::{self, By};

pub(crate) const TABLE: &[(&str, Shown)] = &[
    // Aggregation.
    (
        "same root twice",
        By(&[
            "batch_with_the_same_root_twice_is_refused",
            "window_that_is_repeated_is_acknowledged_and_counts_once",
        ]),
    ),
    (
        "missing, duplicate or reordered item",
        By(&[
            "batch_with_a_missing_item_is_refused",
            "batch_with_a_duplicate_item_is_refused",
            "batch_with_reordered_items_is_refused",
            "window_whose_items_are_not_those_that_were_signed_for_is_refused_whole",
        ]),
    ),
    ("sum overflow", By(&["batch_whose_sum_overflows_is_refused"])),
    (
        "batch half acknowledged, then a crash",
        By(&[
            "batch_half_acknowledged_before_a_crash_is_sent_again",
            "batch_lost_with_the_payers_memory_is_billed_in_a_new_one",
            "windows_in_flight_are_sent_again_after_a_reconnect",
            "payer_that_lost_its_batches_bills_what_is_missing_in_each_lane",
            "restart_of_either_side_at_every_write_loses_nothing",
        ]),
    ),
    (
        "item replayed in a later batch",
        By(&[
            "item_replayed_in_a_later_batch_is_refused",
            "item_replayed_in_a_later_window_is_refused",
        ]),
    ),
    (
        "batch of more than its bytes, its voucher or its limits",
        By(&[
            "window_that_nobody_signed_for_is_not_kept",
            "window_above_its_limits_is_refused_before_it_is_counted",
            "parts_that_do_not_fit_are_passed_over_or_refused",
            "unfinished_window_is_kept_once_a_channel_however_many_lines_its_payer_has",
        ]),
    ),
    (
        "window lost, repeated, reordered, or an acknowledgement of it",
        By(&[
            "lost_window_is_sent_again_with_everything_behind_it",
            "lost_acknowledgement_is_repeated_and_nothing_counts_twice",
            "window_of_many_parts_survives_the_loss_of_any",
            "acknowledgement_of_more_than_was_sent_is_refused",
            "random_stories_end_with_every_item_paid_once",
        ]),
    ),
    (
        "lanes stated otherwise than they are held, overdrawn, or shown to a stranger",
        By(&[
            "lanes_that_are_stated_otherwise_than_they_are_held_are_refused",
            "lane_is_drained_and_never_overdrawn_on_either_side",
            "lanes_are_told_to_the_payer_alone",
            "payee_that_claims_more_of_a_lane_than_was_paid_is_not_believed",
        ]),
    ),
    (
        "old disk or lost store under a channel with lanes",
        By(&[
            "payee_that_went_back_to_an_old_disk_is_billed_what_it_lost",
            "payee_that_lost_its_store_is_billed_everything",
            "payer_that_went_back_to_an_old_disk_takes_the_payees_lanes",
            "payer_without_a_record_of_its_lanes_asks_for_them_first",
            "lane_is_left_free_for_what_is_billed_anew",
            "wild_stories_end_with_equal_lanes_on_both_sides",
            "record_of_lanes_that_is_cut_or_flipped_is_refused",
        ]),
    ),
    (
        "more at risk in flight than was allowed",
        By(&[
            "windows_in_flight_are_bounded_in_number_and_amount",
            "windows_at_a_node_are_bounded_in_number_and_amount",
            "plain_payments_and_windows_do_not_overtake_each_other",
            "payment_does_not_overtake_a_window_that_waits_for_its_budget",
        ]),
    ),
    (
        "msat sum against sat outputs",
        By(&["batch_above_the_capacity_by_a_millisatoshi_is_refused"]),
    ),
    ("receipt with any bit changed", By(&["receipt_with_any_bit_changed_is_refused"])),
    (
        "receipt with a truncated path, a promoted odd leaf, another count or leaf size",
        By(&[
            "proof_of_another_length_index_or_shape_is_refused",
            "root_differs_by_count_leaf_size_total_and_order",
            "node_shown_as_a_leaf_has_another_root",
        ]),
    ),
    ("receipt of another payee", By(&["receipt_of_another_payee_is_refused"])),
    ("receipt of another channel", By(&["receipt_of_another_channel_batch_or_item_is_refused"])),
    // Holds.
    (
        "hold dropped, shrunk, with another hash or expiry",
        By(&[
            "hold_dropped_shrunk_or_changed_is_refused",
            "hold_that_changes_or_takes_a_used_id_is_refused",
        ]),
    ),
    (
        "hold folded for less than its amount",
        By(&["hold_folded_for_less_than_its_amount_is_refused"]),
    ),
    (
        "hold folded twice, or held again under an id that nobody signed",
        By(&[
            "hold_folded_twice_is_paid_once",
            "folded_hold_is_not_held_again_under_another_id",
            "released_hold_is_not_held_again_under_another_id",
        ]),
    ),
    (
        "stranger states ids or bundles of the best voucher otherwise",
        By(&[
            "stranger_puts_no_bundle_behind_a_hold_and_gives_it_no_other_id",
            "stranger_does_not_reopen_a_released_hold",
        ]),
    ),
    (
        "preimage asked for under a stalled tip, or when the settled hold's claim would be late",
        By(&[
            "preimage_is_not_revealed_under_a_stalled_tip",
            "preimage_is_not_revealed_when_the_claim_of_a_settled_hold_would_be_late",
        ]),
    ),
    (
        "equal items behind two hashes, growth below a satoshi",
        By(&[
            "equal_items_behind_two_hashes_or_expiries_are_both_taken",
            "bundle_that_grows_by_less_than_a_satoshi_is_taken",
        ]),
    ),
    (
        "holds reordered, or an id used again",
        By(&[
            "holds_out_of_order_or_with_a_used_id_are_refused",
            "holds_that_do_not_rise_or_that_a_wallets_change_would_pin_are_refused",
        ]),
    ),
    (
        "hold with an expiry too near the deadline, or that could not be enforced",
        By(&["hold_with_an_expiry_too_near_or_too_far_is_refused_by_both"]),
    ),
    (
        "hold below dust, or too many",
        By(&[
            "hold_below_the_terms_dust_or_above_their_count_is_refused_by_both",
            "hold_at_its_dust_limit_is_taken_and_below_refused",
            "largest_settlement_with_holds_fits_and_one_hold_more_is_refused",
        ]),
    ),
    (
        "hold on an unconfirmed outpoint",
        By(&["hold_on_a_shallow_or_unconfirmed_output_is_refused_by_both_and_by_the_signer"]),
    ),
    (
        "hold on a wallet's change, where one change could be paid for two channels",
        By(&["hold_on_a_wallets_change_or_without_rules_is_refused"]),
    ),
    (
        "wrong preimage, or one of 31 or 33 bytes",
        By(&[
            "preimage_of_another_hash_is_refused_by_both",
            "preimage_of_another_length_or_hash_is_refused",
        ]),
    ),
    (
        "preimage revealed too late to claim",
        By(&["preimage_is_not_used_once_the_claim_could_be_late_nor_after_a_release"]),
    ),
    (
        "hold claimed after its release",
        By(&[
            "hold_claimed_after_its_release_is_known_as_such_and_timed_out_if_late",
            "every_old_voucher_published_costs_its_exposure_at_most_and_broken_releases_are_told",
        ]),
    ),
    (
        "old voucher with folded or released holds published, early or late",
        By(&[
            "old_voucher_published_costs_no_more_than_the_stated_exposure",
            "every_old_voucher_published_costs_its_exposure_at_most_and_broken_releases_are_told",
        ]),
    ),
    (
        "settlement with holds published late, in fees that nobody foresaw",
        By(&[
            "settlement_published_late_is_timed_out_before_its_claim_can_come_whatever_blocks_take",
        ]),
    ),
    (
        "settlement or claim of a hold that blocks do not take before its deadline",
        By(&[
            "settlement_that_no_block_takes_is_raised_by_a_child_that_pays_what_is_missing",
            "settlement_that_is_not_even_relayed_is_sent_with_its_child",
            "settlement_without_payee_output_is_raised_by_the_smallest_coin_that_is_enough",
            "claim_is_raised_against_its_expiry_and_comes_in_time",
            "settlement_is_sent_with_a_child_that_pays_a_part_where_no_coin_pays_all",
            "rate_rises_on_for_each_block_that_is_past_the_last_and_not_for_ever",
        ]),
    ),
    (
        "timeout of a hold kept out of blocks by a rate that nobody foresaw, until a late claim",
        By(&[
            "timeout_of_a_settlement_in_time_confirms_within_the_reaction_at_a_rate_nobody_knew",
            "timeout_that_is_past_its_reaction_presses_on_until_blocks_take_it",
        ]),
    ),
    (
        "replacement pinned by a spend with coins of a value that nobody knows",
        By(&[
            "claim_with_a_coin_that_nobody_knows_is_outbid_by_all_that_the_hold_can_pay",
            "spend_of_the_channel_with_a_coin_that_nobody_knows_is_outbid_by_what_is_at_stake",
            "rival_whose_coins_nobody_knows_is_bid_the_most_against_and_never_taken_for_free",
        ]),
    ),
    (
        "preimage extracted from a claim, in a block or not, and kept over a reorg",
        By(&[
            "payee_settles_before_its_last_good_block_claims_and_the_payer_learns_the_preimage",
            "reorg_of_claim_and_settlement_is_told_and_both_are_made_again",
        ]),
    ),
    (
        "preimage learnt after the settlement, or too late for one",
        By(&[
            "preimage_from_elsewhere_is_used_before_and_after_the_settlement_is_in_a_block",
            "preimage_that_comes_too_late_for_a_settlement_settles_nothing",
        ]),
    ),
    (
        "settlement with holds reorged out for another, power cut of a monitor at any write",
        By(&[
            "reorg_to_another_voucher_is_followed",
            "power_cut_around_every_write_loses_neither_preimage_nor_money",
            "any_life_ends_every_hold_at_the_side_that_it_is_for",
        ]),
    ),
    (
        "more held than the budgets allow",
        By(&["hold_over_the_budget_is_refused", "hold_is_charged_once_and_its_fold_costs_nothing"]),
    ),
    (
        "payer restored from an old record while holds are open",
        By(&[
            "payer_with_an_older_record_takes_over_the_holds_that_it_signed",
            "payer_restored_from_its_backup_takes_over_the_holds_of_a_channel_that_paid_nothing",
        ]),
    ),
    (
        "hold sent before it is durable",
        By(&[
            "power_cut_before_the_write_of_an_offer_sends_nothing_and_after_it_loses_nothing",
            "any_faults_leave_every_hold_paid_once_or_given_up",
        ]),
    ),
    (
        "claim or timeout signed for another channel or by the other side",
        By(&["claim_or_timeout_of_another_channel_is_refused"]),
    ),
    (
        "bundle changed, shrunk or paid in part after it was offered",
        By(&["bundle_does_not_fail_in_part_after_it_was_offered"]),
    ),
    (
        "bundle of no item, of too many, or of all money and more",
        By(&["bundle_has_between_one_item_and_a_million"]),
    ),
    // The hub.
    (
        "hub: outgoing offered before the incoming is committed",
        By(&["nothing_is_offered_before_the_incoming_hold_and_its_order_are_durable"]),
    ),
    (
        "hub: expiry delta too small, claim's delay too short",
        By(&[
            "order_whose_incoming_hold_ends_a_block_early_is_refused",
            "order_to_a_channel_whose_claims_come_too_early_is_refused",
            "order_that_is_past_or_locks_too_long_is_refused",
        ]),
    ),
    (
        "hub: fee overflow, or one that does not cover",
        By(&[
            "fee_above_all_money_is_an_error",
            "order_that_pays_exactly_is_taken_and_one_satoshi_less_refused",
            "price_covers_the_load_in_whole_satoshis",
        ]),
    ),
    (
        "hub: receiver releases, and claims on the chain",
        By(&["receivers_word_never_releases_what_a_voucher_can_still_claim"]),
    ),
    (
        "hub: neighbour silent or hostile, one side on chain",
        By(&[
            "preimage_from_the_chain_claims_upstream_until_the_last_block",
            "outgoing_hold_that_is_dead_on_the_chain_is_released_upstream",
            "sender_that_lets_its_hold_lapse_leaves_nothing_behind",
            "order_that_could_not_be_offered_in_time_is_never_offered",
            "fixed_seeds_of_hubs_lose_nothing_and_meet_every_fault",
        ]),
    ),
    (
        "hub: one hold forwarded twice, two for one",
        By(&[
            "hold_is_forwarded_once_and_to_one_receiver",
            "preimage_decides_every_forward_of_its_hash_and_no_other",
            "bundle_that_the_payer_would_merge_into_another_forwards_is_refused",
        ]),
    ),
    (
        "hub: power cut between preimage and fold",
        By(&[
            "preimage_is_durable_before_it_is_used_on_either_side",
            "hub_comes_back_with_every_forward_and_the_same_duties",
            "power_cut_at_any_commit_of_the_hub_loses_nothing",
        ]),
    ),
    // The swap.
    (
        "swap: first hold ends too early for the second, on chains of different pace",
        By(&[
            "first_leg_that_ends_a_block_early_is_refused_by_the_responder",
            "first_expiry_counts_every_block_that_the_responder_needs",
            "any_run_of_blocks_within_both_paces_leaves_the_responder_its_blocks",
        ]),
    ),
    (
        "swap: wrong hash, less than agreed, earlier expiry, later claim",
        By(&["hold_that_is_less_than_agreed_is_refused"]),
    ),
    (
        "swap: secret asked for when the second hold cannot be enforced any more",
        By(&[
            "secret_is_shown_until_the_last_block_in_which_the_second_leg_can_be_enforced",
            "secret_of_a_swap_that_was_stopped_is_never_shown",
        ]),
    ),
    (
        "swap: initiator releases the second hold, and claims it on the chain",
        By(&["initiators_word_never_releases_the_first_hold"]),
    ),
    (
        "swap: either party vanishes at any step, for a block, until its last moment, for ever",
        By(&[
            "power_cut_at_any_commit_of_a_swap_off_the_chain_leaves_both_legs_or_neither",
            "power_cut_at_any_commit_of_a_swap_on_the_chains_leaves_both_legs_or_neither",
            "power_cut_at_any_commit_in_the_worst_weather_leaves_both_legs_or_neither",
            "responder_that_never_comes_back_is_the_only_one_who_can_lose",
        ]),
    ),
    (
        "swap: secret told at the last moment, chains at the edge of their paces",
        By(&["secret_that_is_told_at_the_last_moment_leaves_the_responder_its_claim"]),
    ),
    (
        "swap: holds published and not claimed",
        By(&["power_cut_at_any_commit_around_published_holds_takes_both_back"]),
    ),
    (
        "swap: one of the chains stands still or is hidden",
        By(&[
            "nobody_offers_or_tells_while_a_chain_stands_still",
            "blocks_that_a_chain_may_hide_count_as_if_they_were_there",
            "tip_that_is_dated_ahead_of_the_time_is_refused",
        ]),
    ),
    (
        "swap: own hold locked for too long, or claimed before its timeout",
        By(&[
            "own_hold_does_not_lock_longer_than_the_policy_allows",
            "claims_delay_of_the_own_hold_is_above_reaction_and_depth",
        ]),
    ),
];
