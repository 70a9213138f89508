//! Attacks on shares, and on the money that is owed for them.

use super::Shown::{self, By};

pub(crate) const TABLE: &[(&str, Shown)] = &[
    // What is owed and paid.
    (
        "shares paid twice after a reconnect or a crash",
        By(&[
            "worker_is_not_paid_twice_after_a_reconnect_or_a_restart",
            "power_cut_at_every_write_of_a_workers_life_pays_all_of_it_once",
            "credits_in_any_order_with_any_cuts_between_are_paid_whole",
            "what_a_settlement_leaves_out_is_due_on_the_successor_and_not_after_a_better_one",
            "pool_on_an_old_disk_takes_what_the_worker_shows_for_paid",
            "cut_at_every_barrier_pays_neither_twice_nor_never",
            "cut_that_takes_lazy_commits_never_pays_twice",
            "payment_that_is_told_twice_counts_once",
            "payment_above_what_is_owed_is_refused_unless_the_worker_shows_it",
            "next_channel_is_bound_only_after_the_last_word_of_the_one_before",
        ]),
    ),
    (
        "pool that does not pay, or another's channel bound to a worker",
        By(&[
            "worker_whose_pool_stops_paying_loses_no_more_than_its_window",
            "worker_stops_above_its_risk_and_goes_on_when_it_is_paid",
            "channel_of_another_payee_or_in_other_use_is_not_bound",
        ]),
    ),
    (
        "block shared out twice, or not whole",
        By(&[
            "block_is_shared_to_the_millisatoshi_and_once",
            "cut_around_a_block_shares_it_once",
            "rewards_are_shared_whole",
            "parts_are_those_of_the_model_in_any_order",
        ]),
    ),
    (
        "shares too small for a millisatoshi rounded away",
        By(&[
            "shares_too_small_for_a_millisatoshi_are_paid_when_they_make_one",
            "shares_one_by_one_are_worth_their_sum",
            "order_of_shares_is_of_no_consequence",
            "ledger_is_a_plain_sum",
        ]),
    ),
    (
        "forged claims of work",
        By(&[
            "share_of_another_window_or_place_is_not_proved",
            "receipt_with_any_bit_changed_is_refused",
            "work_with_a_price_is_not_shared_a_second_time",
        ]),
    ),
    (
        "pool that counts less than was accepted",
        By(&[
            "statement_that_leaves_a_share_out_is_seen",
            "windows_follow_each_other_without_a_gap",
        ]),
    ),
    (
        "hopping between rounds",
        By(&[
            "hopping_into_a_young_round_earns_nothing_more_under_pplns",
            "hopping_earns_more_under_proportional_which_says_so",
        ]),
    ),
    (
        "workers without number, or unpaid without limit",
        By(&[
            "worker_at_its_limit_is_credited_no_more_until_it_is_paid",
            "one_worker_too_many_is_refused_until_an_idle_one_is_forgotten",
            "one_worker_more_than_entries_is_refused",
            "full_window_keeps_every_hash_and_its_worker",
        ]),
    ),
    (
        "ledger with a record that rotted, is missing or of another time",
        By(&[
            "record_that_could_not_have_been_written_is_refused",
            "entry_that_could_not_have_been_written_is_refused",
            "store_without_one_of_its_accounts_is_refused",
        ]),
    ),
];
