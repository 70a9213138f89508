//! A channel in one screen: terms, funding, payments, acceptance. No chain, no I/O but the print.

use bitcoin::{BlockHash, Network, OutPoint, hashes::Hash};
use millstream::keys::{Context, Entropy, Seed};
use millstream::signer::{MemorySigner, Past, PeerId, Signer, budget::Policy};
use millstream::store::{Batch, Durability, MemoryStore, Store};
use millstream::stream::payer::{Ending, Opening};
use millstream::stream::{Payee, Payer, Terms, View};
use millstream::tx::seen::{OutputStatus, Tip};
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{Height, KeyIndex, Msat, Sat, Seconds, SessionId, UtcSeconds};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (context, net, aux) = (Context::new(), Network::Regtest, Entropy::new([7; 32]));
    let (now, session) = (UtcSeconds::new(1_800_000_000)?, SessionId::new(1)?);
    let tip = Tip { height: Height::new(120)?, hash: BlockHash::all_zeros(), time: now };
    let view = View { tip, now, tip_age_max: Seconds::new(7_200)? };

    // The charger prints its terms: one code for every car.
    let charger = Seed::new([1; 32]).base_key(&context, net)?.public();
    let terms = Terms::from_text(&Terms::new(net, charger)?.to_text())?;

    // The car funds an output that the terms alone describe, and keeps a backup of 160 bytes.
    let seed = Seed::new([2; 32]);
    let key = seed.payer_key(&context, net, KeyIndex::new(0)?)?.public();
    let (index, delay, value) = (KeyIndex::new(0)?, Delay::new(144)?, Sat::new(50_000)?);
    let opening =
        Opening::new(&context, &terms, index, key, delay, value, ChangeScript::Own, &view)?;
    let funding = OutPoint::null(); // stands for the output of a transaction that is mined
    let (record, _backup, request) = opening.funded(funding);
    let mut payer = Payer::load(&context, key, record)?;

    // The charger looks the output up on its chain; the car's signer knows its budgets.
    let (script, confirmed) = (opening.script().clone(), Some(Height::new(110)?));
    let seen = OutputStatus { value, script, confirmed, truc: true, spent: None };
    let mut payee = Payee::open(&context, &terms, &request, Some(&seen), &view)?;
    let budget = Msat::new(5_000_000)?; // 5,000 sat an hour, a day, a charger, and this session
    let policy = Policy { hour: budget, day: budget, peer: budget, slice: budget };
    let mut signer = MemorySigner::new(seed, net, policy, None, &aux)?;
    signer.release_day_budget_without_record(now)?;
    signer.open_session(PeerId::new(charger), session, budget)?;
    payer.register(&mut signer, Past::New)?;
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    let staged = signer.reserve(now, None)?.ok_or("nothing to reserve")?.stage(&mut batch)?;
    store.commit(&batch, Durability::Barrier)?; // reserved budgets are durable before any payment
    signer.apply(staged.after_barrier())?;

    // Pay and accept: one signature, one verification, one message, no reply needed.
    for second in 1..=60 {
        let paid = Msat::new(second * 18_750)?; // 150 kW at 450 sat a kilowatt-hour
        let step = payer.pay(&mut signer, paid, Ending::KeepsChange, session, &view, &aux)?;
        payer.apply(step.record())?;
        let accepted = payee.accept(&context, step.voucher(), &view)?;
        payee.apply(accepted.record())?; // a real charger commits the record first
    }
    println!("{} paid of {value}, the charger can settle any time", payee.paid());
    Ok(())
}
