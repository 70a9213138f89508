//! Seeds at which the simulated pair once broke a promise, each by what was wrong.

use millstream::sim::pair::Pairs;

fn passes(seeds: &[u64]) {
    let pairs = Pairs::new();
    for seed in seeds {
        assert_eq!(pairs.run_small(*seed).failure, None, "seed {seed}");
    }
}

#[test]
fn successor_of_a_replaced_settlement_is_forgotten_also_after_a_restart() {
    passes(&[11, 25, 46, 60, 62]);
}

#[test]
fn rollover_that_its_payer_shows_keeps_its_predecessor() {
    passes(&[15, 100, 138, 191, 197, 247]);
}

#[test]
fn payer_restarted_after_a_rollover_pays_on() {
    passes(&[120, 138, 200, 226, 247, 282]);
}

#[test]
fn pause_of_service_survives_a_restart() {
    passes(&[115, 123, 144, 465]);
}

#[test]
fn reading_paid_by_hand_is_counted_at_its_own_price() {
    let pairs = Pairs::new();
    for seed in [5033, 8407] {
        assert_eq!(pairs.run(seed).failure, None, "seed {seed}");
    }
}

#[test]
fn top_up_that_is_proposed_again_carries_what_the_payee_agreed_on() {
    let pairs = Pairs::new();
    for seed in [20185, 20683, 28946, 29756, 47418, 49958, 66639, 70891, 76997] {
        assert_eq!(pairs.run(seed).failure, None, "seed {seed}");
    }
}

#[test]
fn reading_that_a_restart_or_a_late_start_took_costs_a_price_border_at_most() {
    let pairs = Pairs::new();
    for seed in [43420, 62585, 68083, 94708] {
        assert_eq!(pairs.run(seed).failure, None, "seed {seed}");
    }
}

#[test]
fn session_begins_under_another_id_than_one_that_a_changed_byte_took() {
    assert_eq!(Pairs::new().run(74763).failure, None);
}

#[test]
fn same_seed_gives_the_same_trace_and_another_seed_another() {
    let pairs = Pairs::new();
    let (first, again, other) = (pairs.run(5), pairs.run(5), pairs.run(6));
    assert_eq!(first, again);
    assert_ne!(first.trace, other.trace);
}

#[test]
fn idle_time_read_after_the_buyers_end_and_the_skew_is_given_up_by_its_seller() {
    let pairs = Pairs::new();
    for seed in [43702, 49730, 901_141] {
        assert_eq!(pairs.run(seed).failure, None, "seed {seed}");
    }
}

#[test]
fn session_begun_behind_a_spend_is_paid_and_stated_where_a_replacement_leads() {
    let pairs = Pairs::new();
    for seed in [48901, 73575] {
        assert_eq!(pairs.run(seed).failure, None, "seed {seed}");
    }
}
