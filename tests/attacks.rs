//! The attacks and failures that this crate answers, each with the tests that show it.
//!
//! A row without a test, or a test that no source file holds, fails. Attacks on features that do
//! not exist yet stand here too, with the feature that will bring their tests.

#[path = "attacks/aggregation.rs"]
mod aggregation;
#[path = "attacks/claims.rs"]
mod claims;
#[path = "attacks/shares.rs"]
mod shares;
mod test_names;

use std::collections::BTreeSet;

/// What shows that an attack is answered.
enum Shown {
    /// Tests of this package or of the judge, by name.
    By(&'static [&'static str]),
    /// The feature is not there yet: nothing can be attacked.
    Later(&'static str),
}
use Shown::{By, Later};

const DUPLEX: Shown = Later("there are no two-way channels");

const TABLE: &[(&str, Shown)] = &[
    // Vouchers.
    ("stale voucher", By(&["voucher_that_is_stale_is_refused_with_the_best"])),
    ("equal voucher", By(&["voucher_that_is_equal_is_repeated_without_a_write"])),
    ("voucher above capacity", By(&["voucher_above_the_capacity_is_refused"])),
    (
        "voucher of the wrong channel, replayed from another one or an earlier point",
        By(&["voucher_of_another_channel_or_an_earlier_point_is_refused"]),
    ),
    ("forged voucher", By(&["voucher_signed_for_another_amount_is_refused_at_every_bit"])),
    ("voucher after the deadline", By(&["voucher_from_the_last_call_on_is_refused_by_both"])),
    (
        "voucher on an unconfirmed rollover",
        By(&[
            "voucher_on_an_unconfirmed_rollover_is_credit_above_its_first_debt",
            "voucher_below_the_first_debt_of_a_rollover_is_refused",
        ]),
    ),
    (
        "voucher after a payee signature left",
        By(&["voucher_above_a_payees_statement_is_credit_until_the_spend_is_buried"]),
    ),
    (
        "batched settlement with two inputs pairing with one output",
        By(&[
            "settlement_pairs_conserves_and_pays_its_rate",
            "batch_of_channels_shows_each_its_own_amount",
        ]),
    ),
    ("last sats below dust", By(&["last_sats_below_dust_are_paid_only_by_the_last_voucher"])),
    ("voucher that goes backwards", By(&["payment_backwards_is_refused_by_the_payer_itself"])),
    ("payment over a budget", By(&["payment_over_a_budget_leaves_the_payer_as_it_was"])),
    // Opening.
    (
        "funding script, amount, index, depth",
        By(&["payee_refuses_an_unknown_spent_underfunded_or_foreign_output"]),
    ),
    (
        "0-conf limits, version-2 funding",
        By(&[
            "voucher_on_a_shallow_output_is_within_the_zero_conf_limit",
            "voucher_on_a_shallow_version_2_funding_is_refused",
        ]),
    ),
    (
        "wrong network, payee, terms",
        By(&["payee_refuses_a_request_for_another_network_payee_or_terms"]),
    ),
    (
        "expired or contradictory terms",
        By(&[
            "payee_refuses_expired_terms_and_a_stalled_tip",
            "terms_that_contradict_themselves_are_refused_with_the_values",
            "payer_opens_within_the_terms_only",
        ]),
    ),
    (
        "junk, oversized or changed shutdown and change scripts",
        By(&[
            "close_to_a_junk_oversized_or_own_script_is_refused",
            "change_script_that_is_not_standard_cannot_be_asked_for",
            "change_script_that_is_the_channels_own_rolls_over_on_both_sides",
            "close_with_another_fee_script_or_amount_than_signed_is_refused",
        ]),
    ),
    (
        "second deposit to one script",
        By(&[
            "second_outpoint_of_the_script_is_not_paid_on",
            "second_outpoint_of_a_script_is_refused_until_the_first_is_forgotten",
        ]),
    ),
    (
        "stranger's dust on the channel's script, newer, larger or unconfirmed",
        By(&[
            "dust_of_a_stranger_on_the_channels_script_hides_its_coin_from_neither_restore_nor_refund",
            "two_real_channels_of_one_script_are_both_refunded",
            "funding_comes_before_newer_larger_and_unconfirmed_outputs_of_strangers",
            "rollover_of_a_rollover_comes_before_a_strangers_larger_output",
        ]),
    ),
    // Close, top-up, settlement.
    (
        "close at another amount than held",
        By(&[
            "close_at_another_amount_than_held_is_refused",
            "close_after_another_statement_is_refused",
        ]),
    ),
    (
        "close below the fee or dust",
        By(&[
            "close_whose_rest_does_not_cover_the_fee_is_refused",
            "close_leaves_dust_out_and_never_gives_it_to_the_other_side",
        ]),
    ),
    (
        "close or top-up of an unconfirmed output",
        By(&["close_and_top_up_of_an_unconfirmed_output_are_refused"]),
    ),
    (
        "top-up without the carried voucher, or by a stranger",
        By(&[
            "top_up_without_the_carried_voucher_is_refused",
            "top_up_by_a_stranger_is_refused",
            "top_up_signed_by_another_than_the_payee_is_refused",
        ]),
    ),
    (
        "replacement of a promised settlement",
        By(&[
            "replacement_of_a_promised_settlement_changes_the_fee_alone",
            "settlement_of_another_amount_than_held_is_not_promised",
        ]),
    ),
    (
        "refund published before the settlement",
        By(&["refund_in_the_mempool_does_not_keep_the_payee_from_settling"]),
    ),
    (
        "balance below its settlement's cost, pinning",
        By(&[
            "balance_below_its_settlements_cost_is_unsecured",
            "wallets_change_costs_what_the_payer_can_pin",
            "unconfirmed_version_3_parent_takes_one_child_of_version_3_and_no_grandchild",
        ]),
    ),
    // Memory and storage.
    (
        "peer that lies in resume",
        By(&[
            "payee_that_presents_an_older_voucher_hurts_itself_alone",
            "payee_that_presents_a_voucher_which_is_not_the_payers_is_refused",
            "payee_that_names_its_own_change_script_is_refused",
        ]),
    ),
    (
        "restore from a stale backup, after a rollover, after a replaced funding",
        By(&[
            "payer_with_nothing_but_seed_and_backup_pays_on_and_refunds",
            "payer_restores_after_a_rollover_and_a_replaced_funding",
            "restore_of_another_script_terms_or_a_spent_output_is_refused",
        ]),
    ),
    (
        "restart with old records",
        By(&[
            "payer_after_a_restart_signs_nothing_before_it_resumed",
            "payer_that_was_leaving_resumes_too",
            "rollover_found_after_a_restart_is_resumed_before_it_is_paid_on",
            "payee_that_lost_its_store_takes_the_payers_word",
            "step_of_another_channel_or_of_the_past_is_not_applied",
        ]),
    ),
    (
        "corrupt, truncated, bit-flipped stored state",
        By(&[
            "record_with_any_bit_flipped_is_refused",
            "record_cut_short_or_lengthened_is_refused",
            "record_with_a_valid_checksum_and_a_broken_body_is_refused",
            "record_under_another_channels_key_is_refused",
            "backup_with_any_bit_flipped_or_any_length_changed_is_refused",
        ]),
    ),
    (
        "state written by another format version",
        By(&[
            "record_of_an_unknown_version_is_refused_with_it",
            "records_of_version_one_are_frozen",
            "backup_of_version_one_is_frozen",
            "terms_of_version_one_are_frozen",
        ]),
    ),
    (
        "backup of another seed or network",
        By(&[
            "backup_of_another_seed_is_refused",
            "backup_of_another_network_is_refused_with_both",
        ]),
    ),
    ("two instances on one store", By(&["second_process_on_one_store_is_refused"])),
    (
        "full disk, torn and lost writes",
        By(&[
            "redb_on_a_full_disk_keeps_every_commit",
            "redb_torn_at_every_16_bytes_of_every_write_keeps_whole_commits",
        ]),
    ),
    // Chain.
    (
        "reorg of the funding",
        By(&["reorg_of_the_funding_moves_the_deadline_and_takes_the_credit_back"]),
    ),
    (
        "close or settlement reorged out",
        By(&[
            "reorg_of_a_settlement_leaves_its_statement_in_force",
            "any_course_of_the_chain_leaves_both_where_the_model_is",
            "statement_that_the_record_lost_is_learnt_from_the_chain",
        ]),
    ),
    (
        "stalled or eclipsed tip",
        By(&["voucher_on_a_stalled_chain_is_refused_and_a_repeated_one_acknowledged"]),
    ),
    (
        "deadlines",
        By(&[
            "settling_is_due_from_the_lead_before_the_last_call",
            "refund_is_signed_from_one_block_before_the_deadline",
        ]),
    ),
    ("fee rate out of range, fee spike", By(&["fee_spike_leaves_the_cheap_in_the_mempool"])),
    // Both sides under faults.
    (
        "messages lost, repeated, reordered; restarts of either side",
        By(&[
            "any_faults_leave_no_wedge_no_loss_beyond_the_window_and_no_overpayment",
            "voucher_that_was_lost_is_healed_by_the_next",
        ]),
    ),
    (
        "every input in every state",
        By(&[
            "payee_does_or_refuses_every_input_in_every_phase_by_the_table",
            "payer_does_or_refuses_every_input_in_every_phase_by_the_table",
        ]),
    ),
    // The node.
    (
        "stranger that names another's channel or session",
        By(&[
            "stranger_that_resumes_a_channel_hears_no_readings_and_ends_no_session",
            "stranger_that_knows_a_session_cannot_take_it_while_its_buyer_is_there",
            "stranger_cannot_have_its_session_paid_from_another_payers_channel",
            "channel_shown_by_two_links_before_the_chain_answers_is_answered_on_both",
            "change_script_squatted_before_the_first_voucher_is_named_anew",
        ]),
    ),
    (
        "bounded channels, offers, top-ups and names per peer, counters that come down",
        By(&[
            "offers_of_a_stranger_are_bounded_and_take_no_place_of_others",
            "openings_shown_on_one_link_are_bounded_and_forgotten_with_it",
            "top_ups_that_are_never_finished_are_bounded_on_both_sides",
            "rollovers_on_one_long_link_do_not_use_up_its_names",
            "sessions_that_are_settled_do_not_pile_up",
            "session_is_forgotten_when_its_owner_says_so",
        ]),
    ),
    (
        "several sessions on one channel",
        By(&[
            "channel_pays_one_session_at_a_time",
            "session_of_a_lower_number_after_another_is_paid_and_stated",
            "payment_outside_the_meter_repeats_no_statement",
        ]),
    ),
    (
        "power cut around a rollover, a replaced settlement, a funding",
        By(&[
            "session_over_a_rollover_survives_a_power_cut_of_either_side",
            "replaced_settlement_leaves_no_record_behind_across_a_power_cut",
            "funding_told_twice_leaves_what_was_signed",
            "funding_for_a_link_that_is_not_there_leaves_nothing_behind",
            "adopted_record_is_paid_on_only_after_the_payees_word",
            "session_is_not_taken_before_a_restarted_payer_knows_what_it_signed",
        ]),
    ),
    (
        "top-up that is never finished, or out of the terms",
        By(&[
            "top_up_that_is_never_finished_stops_no_session",
            "top_up_out_of_the_terms_is_refused",
        ]),
    ),
    (
        "start or end of a session lost on the way",
        By(&[
            "session_ended_while_apart_is_ended_and_stated_on_meeting_again",
            "session_taken_just_before_a_cut_starts_on_meeting_again",
        ]),
    ),
    (
        "clock of a node that steps back",
        By(&[
            "clock_that_steps_back_does_not_keep_a_payee_from_answering",
            "clock_that_steps_back_does_not_keep_a_session_from_ending",
        ]),
    ),
    ("two payments in one drain", By(&["payments_that_wait_for_one_reservation_add_up"])),
    ("window that the seller chooses", By(&["offer_tells_the_buyer_what_it_would_risk"])),
    // Wire and resources.
    (
        "lengths up to 2^64 with short bodies",
        By(&[
            "tlv_record_length_beyond_the_input_is_refused_without_allocating",
            "frame_reader_holds_no_more_than_what_arrived",
        ]),
    ),
    ("peer strings are never logged raw", By(&["peer_text_is_shown_escaped_and_cut"])),
    ("own messages within the frame limit", By(&["largest_message_of_each_kind_fits_a_frame"])),
    (
        "unknown mandatory and optional fields",
        By(&[
            "unknown_odd_record_is_skipped_and_even_one_refused_by_its_type",
            "unknown_message_types_are_ignored_if_odd_and_refused_if_even",
        ]),
    ),
    (
        "driver's news and links used up by strangers",
        By(&[
            "refusals_of_a_stranger_push_no_other_news_out",
            "strangers_leave_links_for_the_connections_that_this_side_makes",
            "garbage_ends_its_own_link_while_others_pay_on",
        ]),
    ),
    // Crypto.
    (
        "secret of zero or the group's order",
        By(&["secret_of_zero_or_of_the_group_order_is_refused"]),
    ),
    (
        "wrong-key and wrong-length signatures",
        By(&[
            "voucher_by_another_key_is_refused",
            "voucher_of_a_witness_has_64_bytes_and_its_type",
        ]),
    ),
    (
        "receipts and statements: any bit changed, another payee's",
        By(&[
            "statement_is_verified_against_the_sellers_base_key_and_every_bit",
            "statement_and_receipt_of_the_same_bytes_have_different_digests",
        ]),
    ),
    // Meter.
    (
        "time or a meter running backwards",
        By(&[
            "time_and_meter_that_run_backwards_are_refused_on_both_sides",
            "time_that_runs_backwards_is_refused_and_a_jump_gives_nothing_back",
        ]),
    ),
    // Later features.
    ("revoked states broadcast; reestablish; penalties", DUPLEX),
];

#[test]
fn every_attack_has_its_test() {
    let names = test_names::all();
    let mut missing: Vec<&str> = Vec::new();
    let (mut shown, mut later) = (0, 0);
    let rows = || TABLE.iter().chain(aggregation::TABLE).chain(shares::TABLE).chain(claims::TABLE);
    for (attack, by) in rows() {
        match by {
            By(tests) => {
                assert!(!tests.is_empty(), "{attack}");
                missing.extend(tests.iter().copied().filter(|test| !names.contains(*test)));
                shown += 1;
            }
            Later(reason) => {
                println!("later: {attack}: {reason}");
                later += 1;
            }
        }
    }
    println!("{shown} attacks with tests, {later} of later features");
    assert!(missing.is_empty(), "no such test: {missing:?}");
    let attacks: BTreeSet<&str> = rows().map(|(attack, _)| *attack).collect();
    assert_eq!(attacks.len(), rows().count(), "an attack stands twice");
}
