//! What must hold at every instant and at the end, checked from outside, by other sums.

use millstream::monitor::{Fate, Watch};
use millstream::stream::payee::{PayeeHold, PayeeHoldState};
use millstream::stream::payer::PayerPhase;

use super::scene::{HOLD_FEE, K, Scene, Signed};
use crate::common::Sabotage;
use crate::common::books::{Books, Kind};

/// 5: more of the same would only hide the first.
const BROKEN_MAX: usize = 5;

/// The oracle of one episode.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// What dropped for holds: items, and their prices in sat.
    pub(crate) dropped: (u64, u64),
    /// Whether the machine has broken its word: the buyer then pays for nothing, once.
    pub(crate) cheated: bool,
    /// Whether the machine is gone for good, and takes nothing of what it was paid.
    pub(crate) abandoned: bool,
    /// The largest exposure, msat.
    pub(crate) exposure_max: u64,
    /// The most that was at risk in released holds, msat.
    pub(crate) at_risk_max: u64,
    /// How often something was checked.
    pub(crate) checks: u64,
    /// The invariants that did not hold.
    pub(crate) broken: Vec<String>,
    /// The newest states of the buyer's record, at each check.
    unsent: Vec<Signed>,
    sabotage: Option<Sabotage>,
}

/// What the channel means to the buyer at an instant, msat.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stand {
    /// Paid for good.
    pub(crate) paid: u64,
    /// Reserved in the newest voucher.
    pub(crate) reserved: u64,
    /// What it can cost at most.
    pub(crate) exposure: u64,
}

impl Stand {
    /// What could be taken against the machine's word.
    pub(crate) const fn at_risk(self) -> u64 {
        self.exposure.saturating_sub(self.paid.saturating_add(self.reserved))
    }
}

/// What each side lost in the end, fees aside, sat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Losses {
    /// Paid, and nothing dropped for it.
    pub(crate) buyer: u64,
    /// Dropped, and not paid.
    pub(crate) machine: u64,
}

impl Guard {
    /// An oracle; `sabotage` makes it see a world that is not.
    pub(crate) fn new(sabotage: Option<Sabotage>) -> Self {
        Self { sabotage, ..Self::default() }
    }

    /// After everything that happens. Returns how the channel stands, while the buyer has it.
    pub(crate) fn check(&mut self, scene: &Scene) -> Option<Stand> {
        self.checks += 1;
        if let Err(error) = scene.world.check_invariants() {
            self.fail(error.to_string());
        }
        self.check_items(scene);
        let node = scene.node(scene.buyer)?;
        let payer = node.payer(scene.funded)?;
        let holds = payer.holds().iter().filter(|kept| kept.state.is_present());
        let holds = holds.map(|kept| (kept.hold.amount.to_sat(), kept.hold.expiry.to_u32()));
        let newest = Signed { paid: payer.signed().to_msat(), holds: holds.collect() };
        let stand = Stand {
            paid: newest.paid,
            reserved: newest.holds.iter().map(|(amount, _)| amount * 1_000).sum(),
            exposure: node.exposure(scene.funded)?.to_msat(),
        };
        let tip = scene.tip().to_u32();
        // What was signed while the line was down has not been in the air.
        if self.unsent.last() != Some(&newest) {
            self.unsent.push(newest);
        }
        let signed = scene.signed();
        let states = signed.iter().chain(&self.unsent);
        let want = states.map(|state| cost(state, tip)).max().unwrap_or(0);
        if stand.exposure != want.max(stand.paid) && payer.phase() != PayerPhase::Unsure {
            let Stand { exposure, .. } = stand;
            self.fail(format!("in block {tip} the exposure is {exposure} msat, signed are {want}"));
        }
        self.exposure_max = self.exposure_max.max(stand.exposure);
        self.at_risk_max = self.at_risk_max.max(stand.at_risk());
        Some(stand)
    }

    /// No item without money that the machine can take, and no money taken without an item.
    fn check_items(&mut self, scene: &Scene) {
        let Some(payee) = scene.node(scene.machine).and_then(|node| node.payee(scene.funded))
        else {
            return;
        };
        let sum = |counts: fn(&PayeeHold) -> bool| -> u64 {
            let holds = payee.holds().iter().filter(|held| counts(held));
            holds.map(|held| held.hold.amount.to_sat()).sum()
        };
        let paid = payee.paid().floor_to_sat().to_sat();
        let sure = paid + sum(|held| held.state != PayeeHoldState::Released);
        let taken = paid + sum(|held| matches!(held.state, PayeeHoldState::Fulfilled(_)));
        let twice = if self.sabotage == Some(Sabotage::Window) { 2 } else { 1 };
        let dropped = self.dropped.1 * twice;
        if dropped > sure {
            self.fail(format!("items for {dropped} sat dropped, and {sure} are sure"));
        }
        if taken > dropped {
            self.fail(format!("{taken} sat are taken, items for {dropped} dropped"));
        }
    }

    /// What the chain shows of holds came at its height, and not before.
    pub(crate) fn check_heights(&mut self, watch: &Watch, settled: Option<u32>) {
        for held in watch.holds() {
            self.checks += 1;
            let expiry = held.hold.expiry.to_u32();
            match held.fate {
                Fate::Claimed { at: Some(at), .. } => {
                    let from = settled.map_or(u32::MAX, |at| at + u32::from(K));
                    if at.to_u32() < from || at.to_u32() > expiry {
                        self.fail(format!("claimed in {at}, not in {from} to {expiry}"));
                    }
                }
                Fate::TimedOut { at: Some(at), .. } if at.to_u32() <= expiry => {
                    self.fail(format!("timed out in {at}, not above {expiry}"));
                }
                _ => {}
            }
        }
    }

    /// The end: every satoshi of the channel is somewhere, and where it should be.
    ///
    /// `paid`: what the voucher says that was closed or settled with; `claimed`: holds that were
    /// claimed on the chain; sat.
    pub(crate) fn check_end(&mut self, books: &Books, paid: u64, claimed: u64) -> Losses {
        self.checks += 1;
        let stolen = u64::from(self.sabotage == Some(Sabotage::Conservation));
        // The agreed fee comes out of the machine's balance, as far as that reaches.
        let settlement = books.kept(Kind::Settlement).fees_sat;
        let of_machine = paid.min(settlement) + books.kept(Kind::Claim).fees_sat;
        let of_buyer = (books.payee_fees() + books.payer_fees()).saturating_sub(of_machine);
        let due = paid + claimed;
        let machine = (books.to_payee + of_machine).saturating_sub(stolen);
        if machine != due {
            self.fail(format!("the machine has {machine} sat, vouchers and claims say {due}"));
        }
        let buyer = books.to_payer + of_buyer;
        if buyer + due != books.funded {
            self.fail(format!("of {} sat, {due} are paid and {buyer} came back", books.funded));
        }
        if !books.balance() || books.open > 0 {
            self.fail(format!("the chain's books do not balance: {books:?}"));
        }
        let dropped = self.dropped.1;
        let due = due + u64::from(self.sabotage == Some(Sabotage::Statement));
        let losses =
            Losses { buyer: due.saturating_sub(dropped), machine: dropped.saturating_sub(due) };
        let given_up = losses.machine > 0 && !self.abandoned;
        if given_up || (losses.buyer > 0 && !self.cheated) {
            self.fail(format!("items for {dropped} sat dropped, and {due} were paid"));
        }
        if losses.buyer * 1_000 > self.at_risk_max {
            let most = self.at_risk_max;
            self.fail(format!("the buyer lost {} sat, at risk were {most} msat", losses.buyer));
        }
        losses
    }

    /// Notes that something did not hold.
    pub(crate) fn fail(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }
}

/// What a signed state could cost at a height, msat: computed here and not by the library, because
/// the library is checked against it.
fn cost(state: &Signed, tip: u32) -> u64 {
    let holds = state.holds.iter().filter(|(_, expiry)| *expiry >= tip);
    let held: u64 = holds.map(|(amount, _)| amount * 1_000).sum();
    let fee = if state.holds.is_empty() {
        0
    } else {
        HOLD_FEE.saturating_sub(state.paid / 1_000) * 1_000
    };
    state.paid + held + fee
}
