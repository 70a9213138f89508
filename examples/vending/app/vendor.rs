//! The machine's own part: a shelf with motors and drop counters, prices, and a journal that knows
//! after a power cut whether an item dropped.
//!
//! ```text
//!  Quoted --taken--> Turning (count before) --> counter has moved --> Dropped --> Done
//!     |                                     '-> it has not --------> Empty ----> Done
//!     '--refused: another amount, too old, sold out, too late--> released
//! ```
//!
//! Every step is durable before the next one acts. After a power cut in `Turning` the motor is not
//! turned again: the drop counter, which keeps its number without power, decides.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bitcoin::hashes::{Hash as _, sha256};
use millstream::store::fault::FaultStore;
use millstream::store::{Batch, Durability, Key, Store};
use millstream::tx::hold::{Hold, PaymentHash, Preimage};
use serde::{Deserialize, Serialize};

use crate::common::Error;

/// Orders' keys in the journal.
const ORDERS: [u8; 1] = [b'o'];
/// How long a price that was shown stands, seconds.
pub(crate) const QUOTE_SECONDS: u64 = 120;

/// What a slot holds, and what it costs at first, sat.
const SHELF: [(&str, u64, u64); 4] =
    [("crisps", 1_200, 12), ("cola", 1_500, 12), ("chocolate", 1_800, 12), ("nuts", 2_400, 1)];
/// Slots of the shelf.
pub(crate) const SLOTS: u64 = SHELF.len() as u64;
/// The slot with one item.
pub(crate) const LAST_ONE: usize = 3;

/// One spiral.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// What is in it.
    pub(crate) item: &'static str,
    /// What it costs now, sat.
    pub(crate) price: u64,
    /// Items in it.
    pub(crate) stock: u64,
    /// The drop counter below it: mechanical, it keeps its number without power.
    pub(crate) counter: u64,
}

/// What the display shows a buyer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quote {
    /// The order's number.
    pub(crate) number: u64,
    /// The item's name.
    pub(crate) item: &'static str,
    /// Its price, sat.
    pub(crate) price: u64,
    /// What the hold has to be locked by.
    pub(crate) hash: PaymentHash,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Shown.
    Quoted,
    /// Its hold is durable; the motor may have turned. The counter before that.
    Turning(u64),
    /// An item dropped for it.
    Dropped,
    /// None did.
    Empty,
    /// Paid or released.
    Done,
}

/// What the journal keeps of an order.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Of which slot.
    pub(crate) slot: usize,
    /// At which price, sat.
    pub(crate) price: u64,
    /// Until when the price stands, seconds UTC.
    pub(crate) until: u64,
    /// The hold that pays it; 0 before there is one.
    pub(crate) hold: u64,
    /// Where it stands.
    pub(crate) stage: Stage,
}

/// Why an order is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No order has this hash, or it was served before.
    NoOrder,
    /// Another amount than was shown.
    Amount,
    /// The price does not stand any more.
    Old,
    /// Somebody else has bought the last one.
    SoldOut,
    /// Too little time to claim it on the chain.
    Late,
}

impl Refused {
    /// In words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoOrder => "no such order",
            Self::Amount => "not the price that was shown",
            Self::Old => "that price does not stand any more",
            Self::SoldOut => "sold out meanwhile",
            Self::Late => "too late to be claimed",
        }
    }
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// The shelf: what power cuts do not touch.
    pub(crate) slots: Vec<Slot>,
    /// Whether the next turn of a motor drops nothing.
    pub(crate) jammed: bool,
    secret: [u8; 32],
    journal: FaultStore,
    orders: BTreeMap<u64, Order>,
}

impl Vendor {
    /// A full machine; `secret` makes its preimages.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        let slot = |(item, price, stock)| Slot { item, price, stock, counter: 0 };
        Self {
            slots: SHELF.into_iter().map(slot).collect(),
            jammed: false,
            secret,
            journal: FaultStore::default(),
            orders: BTreeMap::new(),
        }
    }

    /// Shows a price; none for a slot that is empty. The order is durable first: a number that was
    /// shown once is never used again, and nor is its preimage.
    pub(crate) fn quote(&mut self, slot: usize, now: u64) -> Result<Option<Quote>, Error> {
        let Slot { item, price, stock, .. } = *self.slots.get(slot).ok_or("no such slot")?;
        if stock == 0 {
            return Ok(None);
        }
        let number = self.orders.last_key_value().map_or(1, |(last, _)| last + 1);
        let until = now + QUOTE_SECONDS;
        self.note(number, Order { slot, price, until, hold: 0, stage: Stage::Quoted })?;
        let hash = self.preimage(number).hash();
        Ok(Some(Quote { number, item, price, hash }))
    }

    /// The order that a hold pays.
    pub(crate) fn order_of(&self, hash: PaymentHash) -> Option<(u64, Order)> {
        let mut orders = self.orders.iter();
        let found = orders.find(|(number, _)| self.preimage(**number).hash() == hash);
        found.map(|(number, order)| (*number, *order))
    }

    /// Whether an order is served for `hold`. `blocks`: how long the machine could wait before it
    /// has to go to the chain; `lead`: how long it may need to serve and go.
    pub(crate) fn judge(
        &self,
        order: &Order,
        hold: &Hold,
        now: u64,
        (blocks, lead): (u32, u32),
    ) -> Result<(), Refused> {
        let stock = self.slots.get(order.slot).map_or(0, |slot| slot.stock);
        match hold.amount.to_sat() {
            _ if order.stage != Stage::Quoted => Err(Refused::NoOrder),
            amount if amount != order.price => Err(Refused::Amount),
            _ if now > order.until => Err(Refused::Old),
            _ if stock == 0 => Err(Refused::SoldOut),
            _ if blocks < lead => Err(Refused::Late),
            _ => Ok(()),
        }
    }

    /// Writes where an order stands, and waits until that is durable.
    pub(crate) fn note(&mut self, number: u64, order: Order) -> Result<(), Error> {
        let mut batch = Batch::default();
        let key = Key::from_parts(&[&ORDERS, &number.to_be_bytes()])?;
        batch.put(key, &serde_json::to_vec(&order)?)?;
        self.journal.commit(&batch, Durability::Barrier)?;
        self.orders.insert(number, order);
        Ok(())
    }

    /// The motor: an item drops, unless it jams.
    pub(crate) fn turn(&mut self, slot: usize) {
        if std::mem::take(&mut self.jammed) {
            return;
        }
        if let Some(slot) = self.slots.get_mut(slot).filter(|slot| slot.stock > 0) {
            slot.stock -= 1;
            slot.counter += 1;
        }
    }

    /// Somebody pays with coins.
    pub(crate) fn sell_for_cash(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.stock = slot.stock.saturating_sub(1);
        }
    }

    /// What its drop counter says.
    pub(crate) fn counter(&self, slot: usize) -> u64 {
        self.slots.get(slot).map_or(0, |slot| slot.counter)
    }

    /// What locks the order's hold. Told to nobody before the item has dropped.
    pub(crate) fn preimage(&self, number: u64) -> Preimage {
        let parts = [b"vending/preimage".as_slice(), &self.secret, &number.to_be_bytes()];
        Preimage::new(sha256::Hash::hash(&parts.concat()).to_byte_array())
    }

    /// The power is gone and back: what was not durable is forgotten.
    pub(crate) fn power_cut(&mut self) -> Result<(), Error> {
        self.journal.cut();
        self.journal.restart(0);
        let mut orders = BTreeMap::new();
        let mut bad = None;
        self.journal.scan(&ORDERS, &mut |key, bytes| {
            let number = key.as_bytes().get(1..).and_then(|rest| rest.try_into().ok());
            match (number.map(u64::from_be_bytes), serde_json::from_slice::<Order>(bytes)) {
                (Some(number), Ok(order)) => orders.insert(number, order),
                (_, read) => {
                    bad = Some(read.err());
                    None
                }
            };
            ControlFlow::Continue(())
        })?;
        if bad.is_some() {
            return Err("the journal cannot be read".into());
        }
        self.orders = orders;
        Ok(())
    }

    /// Commits of its journal.
    pub(crate) const fn commits(&self) -> u64 {
        self.journal.commits()
    }
}
