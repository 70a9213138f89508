//! The night: every channel settles, by the planner, in batches; a reorg undoes the first of them.

use std::collections::BTreeSet;

use bitcoin::{OutPoint, ScriptBuf};
use millstream::keys::Context;
use millstream::sim::world::{EndId, Machine};
use millstream::store::{Batch, Durability, Store};
use millstream::stream::Payee;

use super::desk::Desk;
use super::relay::{Relay, night_rate, terms};
use super::road::Road;
use crate::common::Error;
use crate::common::books::Books;
use crate::common::stage::{self, settle, till};

/// 100 settlements of 65 channels at once: they fit into one block.
const AT_ONCE: usize = 100;
/// 20: each settles 6,500 channels.
const ROUNDS_MAX: usize = 20;

/// What the night did.
#[derive(Debug)]
pub(crate) struct Night {
    /// The cars' channels that were settled.
    pub(crate) settled: BTreeSet<OutPoint>,
    /// Their money.
    pub(crate) cars: Books,
    /// The money of the four channels behind the gantry.
    pub(crate) relay: Books,
}

/// Settles everything. `reorg`: the first block of settlements is undone once.
pub(crate) fn night(road: &mut Road, relay: &Relay, reorg: bool) -> Result<Night, Error> {
    let behind = payees(road, relay)?;
    let rate = night_rate()?;
    let mut settled = BTreeSet::new();
    for round in 0..ROUNDS_MAX {
        let (payee, till) = (road.crowd.payee, road.crowd.till.clone());
        let world = &mut road.crowd.world;
        let plan = settle(world, payee, &till, rate, AT_ONCE)?;
        if plan.groups.is_empty() && round > 0 {
            break;
        }
        settled.extend(plan.groups.iter().flat_map(|group| group.outpoints.clone()));
        for (end, till) in &behind {
            if round == 0 {
                let _plan = settle(world, *end, till, rate, usize::MAX)?;
            }
        }
        stage::night(world, reorg && round == 0)?;
    }
    let tills = behind.into_iter().map(|(_, till)| till);
    let relay = Books::of(&road.crowd.world, relay.fundings.iter().cloned(), tills);
    Ok(Night { settled, cars: road.crowd.books(), relay })
}

/// The hub's and the owners' channels as nodes: they load what the machines of the day have stored.
fn payees(road: &mut Road, relay: &Relay) -> Result<Vec<(EndId, ScriptBuf)>, Error> {
    let hub = ("hub", &relay.middle.desk, &relay.middle.payee);
    let owners = relay.owners.iter().map(|owner| ("owner", &owner.desk, &owner.payee));
    let mut ends = Vec::new();
    for (name, desk, payee) in core::iter::once(hub).chain(owners) {
        let context = Context::new();
        let terms = terms(desk.base(&context)?)?;
        let end = road.crowd.world.add(Machine::payee(name, desk.secret, terms))?;
        copy(road, end, desk, payee)?;
        road.crowd.world.reboot(end)?;
        ends.push((end, till(&context, &desk.secret)?));
    }
    Ok(ends)
}

fn copy(road: &mut Road, end: EndId, desk: &Desk, payee: &Payee) -> Result<(), Error> {
    let key = payee.record().key()?;
    let bytes = desk.store.get(&key)?.ok_or("no record of a payee")?;
    let mut batch = Batch::default();
    batch.put(key, &bytes)?;
    let store = road.crowd.world.end_mut(end)?.store_mut();
    Ok(store.commit(&batch, Durability::Barrier)?)
}
