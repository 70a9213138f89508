//! Everything bad that is put in, each with the test that shows the refusal: a typed error with its
//! value, and the state as it was.
//!
//! A row without a test, or a test that no source file holds, fails.

mod test_names;

use std::collections::BTreeSet;

const TABLE: &[(&str, &[&str])] = &[
    (
        "malformed bytes",
        &[
            "message_cut_anywhere_is_refused_or_another",
            "frame_too_short_for_a_type_is_refused_and_stays_refused",
            "terms_field_out_of_range_is_malformed",
        ],
    ),
    ("wrong channel", &["voucher_of_another_channel_or_an_earlier_point_is_refused"]),
    ("stale voucher", &["voucher_that_is_stale_is_refused_with_the_best"]),
    (
        "too large voucher",
        &[
            "voucher_above_the_capacity_is_refused",
            "payment_above_the_capacity_is_refused_with_both_amounts",
        ],
    ),
    ("wrong network", &["payee_refuses_a_request_for_another_network_payee_or_terms"]),
    (
        "bad keys",
        &["key_off_the_curve_is_refused", "secret_of_zero_or_of_the_group_order_is_refused"],
    ),
    ("unknown mandatory TLV", &["unknown_odd_record_is_skipped_and_even_one_refused_by_its_type"]),
    (
        "corrupted store",
        &[
            "record_with_any_bit_flipped_is_refused",
            "record_with_a_valid_checksum_and_a_broken_body_is_refused",
        ],
    ),
    (
        "full disk",
        &["redb_on_a_full_disk_keeps_every_commit", "full_medium_is_refused_and_loses_nothing"],
    ),
    (
        "seed file that others can read",
        &[
            "seed_file_that_others_can_read_or_write_is_refused_with_its_mode",
            "seed_file_that_others_can_read_is_refused_with_its_mode",
        ],
    ),
    (
        "funding of the wrong amount or script",
        &[
            "payee_refuses_an_unknown_spent_underfunded_or_foreign_output",
            "funding_of_another_amount_script_or_index_is_refused_and_leaves_nothing_behind",
        ],
    ),
    (
        "funding of the wrong index",
        &["funding_of_another_amount_script_or_index_is_refused_and_leaves_nothing_behind"],
    ),
    ("funding of the wrong depth", &["voucher_on_a_shallow_output_is_within_the_zero_conf_limit"]),
    ("expired terms", &["payee_refuses_expired_terms_and_a_stalled_tip"]),
    (
        "terms out of range",
        &[
            "terms_that_contradict_themselves_are_refused_with_the_values",
            "payer_opens_within_the_terms_only",
        ],
    ),
    ("voucher past the margin", &["voucher_from_the_last_call_on_is_refused_by_both"]),
    ("voucher over a budget", &["payment_over_a_budget_leaves_the_payer_as_it_was"]),
    (
        "non-standard change script",
        &[
            "change_script_that_is_not_standard_cannot_be_asked_for",
            "change_script_of_another_kind_is_refused",
        ],
    ),
    (
        "time running backwards",
        &[
            "time_that_runs_backwards_is_refused_and_a_jump_gives_nothing_back",
            "time_and_meter_that_run_backwards_are_refused_on_both_sides",
        ],
    ),
    ("meter running backwards", &["time_and_meter_that_run_backwards_are_refused_on_both_sides"]),
    ("fee rate of 0", &["fee_rate_of_zero_or_absurd_is_refused_and_fees_round_up"]),
    (
        "absurd fee rate",
        &[
            "fee_rate_of_zero_or_absurd_is_refused_and_fees_round_up",
            "fee_rate_that_eats_everything_is_refused_with_the_amounts",
        ],
    ),
    (
        "stalled tip",
        &[
            "payee_refuses_expired_terms_and_a_stalled_tip",
            "voucher_on_a_stalled_chain_is_refused_and_a_repeated_one_acknowledged",
        ],
    ),
    (
        "backup of another seed",
        &[
            "backup_of_another_seed_is_refused",
            "backup_of_another_seed_or_network_or_text_is_refused",
        ],
    ),
    ("backup of another network", &["backup_of_another_network_is_refused_with_both"]),
    (
        "unknown record version",
        &[
            "record_of_an_unknown_version_is_refused_with_it",
            "record_of_an_unknown_version_is_refused_and_left_as_it_is",
        ],
    ),
    (
        "port in use",
        &["port_in_use_is_named", "port_in_use_and_addresses_beyond_loopback_are_refused_by_name"],
    ),
    ("mainnet without its switch", &["addresses_beyond_loopback_and_mainnet_need_their_switches"]),
    ("second process on one store", &["second_process_on_one_store_is_refused"]),
];

#[test]
fn every_bad_input_has_its_test() {
    let names = test_names::all();
    let mut tests = BTreeSet::new();
    for (input, by) in TABLE {
        assert!(!by.is_empty(), "{input}");
        tests.extend(by.iter().copied());
    }
    println!("{} bad inputs, shown by {} tests", TABLE.len(), tests.len());
    let missing: Vec<&str> = tests.into_iter().filter(|test| !names.contains(*test)).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
    let inputs: BTreeSet<&str> = TABLE.iter().map(|(input, _)| *input).collect();
    assert_eq!(inputs.len(), TABLE.len(), "an input stands twice");
}
