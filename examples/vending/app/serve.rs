//! The machine at work: every hold that came is judged, served and answered, also after a power cut
//! at any of its steps.

use millstream::node::Command;
use millstream::sim::world::EndId;
use millstream::stream::payee::PayeeHoldState;
use millstream::tx::hold::Hold;

use super::drive::{Drive, LEAD};
use super::episode::Cut;
use super::vendor::{Order, Refused, Stage};
use crate::common::Error;

impl Drive<'_> {
    /// The machine looks at every hold that nobody has decided on: after a restart as well.
    pub(crate) fn serve(&mut self) -> Result<(), Error> {
        let node = self.scene.node(self.scene.machine).ok_or("no machine")?;
        let Some(payee) = node.payee(self.scene.outpoint) else { return Ok(()) };
        let open = payee.holds().iter().filter(|held| held.state == PayeeHoldState::Open);
        let open: Vec<Hold> = open.map(|held| held.hold).collect();
        let blocks = |hold: &Hold| {
            let by = payee.record().rules().settle_by(hold.expiry).to_u32();
            by.saturating_sub(self.scene.tip().to_u32())
        };
        let open: Vec<_> = open.iter().map(|hold| (*hold, blocks(hold))).collect();
        for (hold, blocks) in open {
            self.serve_one(hold, blocks)?;
        }
        Ok(())
    }

    fn serve_one(&mut self, hold: Hold, blocks: u32) -> Result<(), Error> {
        let Some((number, order)) = self.vendor.order_of(hold.hash) else {
            return self.refuse(&hold, "an unknown item", Refused::NoOrder);
        };
        let item = self.vendor.slots.get(order.slot).map_or("", |slot| slot.item);
        // After a power cut: this hold's order is under way, and the motor is not turned again.
        if order.stage != Stage::Quoted && order.hold == hold.id.to_u64() {
            return self.conclude(&hold, number, order);
        }
        let now = self.scene.utc();
        if let Err(why) = self.vendor.judge(&order, &hold, now, (blocks, LEAD)) {
            return self.refuse(&hold, item, why);
        }
        if self.cuts(Cut::Taken) {
            return self.power_cut(Cut::Taken);
        }
        let before = self.vendor.counter(order.slot);
        let order = Order { stage: Stage::Turning(before), hold: hold.id.to_u64(), ..order };
        self.vendor.note(number, order)?;
        if self.cuts(Cut::Noted) {
            return self.power_cut(Cut::Noted);
        }
        self.vendor.turn(order.slot);
        if self.vendor.counter(order.slot) > before {
            self.guard.dropped.0 += 1;
            self.guard.dropped.1 += order.price;
            self.mark(format!("{item} drops"))?;
        }
        if self.cuts(Cut::Turned) {
            return self.power_cut(Cut::Turned);
        }
        self.conclude(&hold, number, order)
    }

    /// The counter decides; its word is durable, then the node's.
    fn conclude(&mut self, hold: &Hold, number: u64, order: Order) -> Result<(), Error> {
        let stage = match order.stage {
            Stage::Turning(before) if self.vendor.counter(order.slot) > before => Stage::Dropped,
            Stage::Turning(_) => Stage::Empty,
            stage => stage,
        };
        self.vendor.note(number, Order { stage, ..order })?;
        if self.cuts(Cut::Known) {
            return self.power_cut(Cut::Known);
        }
        let known = (stage == Stage::Dropped).then(|| self.vendor.preimage(number));
        if known.is_none() {
            self.mark(format!("nothing has dropped for order {number}: released"))?;
        }
        self.scene.answer(hold.id, known)?;
        if self.cuts(Cut::Answered) {
            return self.power_cut(Cut::Answered);
        }
        self.hear_answer()
    }

    fn refuse(&mut self, hold: &Hold, item: &str, why: Refused) -> Result<(), Error> {
        self.mark(format!("no {item} for {}: {}", hold.amount, why.as_str()))?;
        self.scene.answer(hold.id, None)?;
        self.hear_answer()
    }

    fn hear_answer(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.restarts) {
            self.mark("the buyer's phone restarts".into())?;
            self.restart(self.scene.buyer)?;
        }
        self.scene.quiet()?;
        self.look()
    }

    fn cuts(&mut self, at: Cut) -> bool {
        self.cut == Some(at)
    }

    fn power_cut(&mut self, at: Cut) -> Result<(), Error> {
        self.cut = None;
        self.mark(format!("the machine loses power {}", at.as_str()))?;
        self.restart(self.scene.machine)?;
        self.vendor.power_cut()
    }

    fn restart(&mut self, end: EndId) -> Result<(), Error> {
        self.scene.reboot(end)?;
        let keeper = if end == self.scene.buyer { &mut self.buyer } else { &mut self.machine };
        keeper.power_cut(&self.scene)?;
        self.line_back = self.scene.utc() + self.dice.between(5, 40);
        Ok(())
    }

    /// The operator settles what the machine holds, the open hold with it, and takes it away.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        let node = self.scene.node(self.scene.machine).ok_or("no machine")?;
        let settlement = node.draft_hold_settlement(self.scene.outpoint, &[])?;
        let settle =
            Command::SettleHeld { settlement: Box::new(settlement), witnesses: Vec::new() };
        self.scene.world.command(self.scene.machine, settle)?;
        self.scene.quiet()?;
        self.machine_gone = true;
        self.scene.disconnect()?;
        self.mark("the machine is taken away, and the channel settled as it stands".into())
    }
}
