//! Every input that a node can get: each command, each message of a peer, each word of the driver.
//!
//! The lists cannot be short of a variant: `index` of [`Command`] and [`Input`] match without a
//! wildcard, [`Message::NAMES`] is made with the enum, and the matrix asserts that each is there.

use alloc::format;
use alloc::string::String;

use bitcoin::Witness;

use super::scenes::{
    bind_worker, close, coinbase, credit_work, find_block, fulfil_hold, hold, log_work, offer_hold,
    open_lane, pay_batch, preimage, release_hold, settle, tend_holds, top_up,
};
use super::*;
use crate::batch::Sealed;
use crate::batch::flight::FlightLimits;
use crate::batch::item::{Charge, Item, LeafSize};
use crate::signer::{Attest, Request};
use crate::stream::bundle::{BundleSum, Bundling};
use crate::stream::payer::Ending;
use crate::tx::Settlement;
use crate::tx::hold::HoldSettlement;
use crate::tx::seen::Spend;
use crate::units::{FeeRate, ItemId, Lane};
use crate::wire::{self, Bytes, Padding, PeerText, Refusal};

/// The names of all commands, by [`command_index`].
pub(super) const COMMANDS: [&str; 36] = [
    "AskTerms",
    "Fund",
    "Adopt",
    "Attach",
    "Pay",
    "Settle",
    "Close",
    "TopUp",
    "Abandon",
    "FinishTopUp",
    "Refund",
    "OfferSession",
    "ChangeTariff",
    "AcceptSession",
    "Meter",
    "EndSession",
    "ForgetSession",
    "SettleDrafted",
    "OpenLane",
    "LimitLane",
    "CloseLane",
    "LimitFlight",
    "PayBatch",
    "OfferHold",
    "OfferBundle",
    "GrowHold",
    "FoldHold",
    "FulfilHold",
    "ReleaseHold",
    "SettleHeld",
    "TendHolds",
    "CreditWork",
    "BindWorker",
    "TendWork",
    "LogWork",
    "FindBlock",
];

/// A new command does not compile here: give it an index, a name above and a place in [`commands`].
const fn command_index(command: &Command) -> usize {
    match command {
        Command::AskTerms(_) => 0,
        Command::Fund { .. } => 1,
        Command::Adopt(_) => 2,
        Command::Attach { .. } => 3,
        Command::Pay { .. } => 4,
        Command::Settle { .. } => 5,
        Command::Close { .. } => 6,
        Command::TopUp { .. } => 7,
        Command::Abandon { .. } => 8,
        Command::FinishTopUp { .. } => 9,
        Command::Refund { .. } => 10,
        Command::OfferSession { .. } => 11,
        Command::ChangeTariff { .. } => 12,
        Command::AcceptSession { .. } => 13,
        Command::Meter { .. } => 14,
        Command::EndSession(_) => 15,
        Command::ForgetSession(_) => 16,
        Command::SettleDrafted { .. } => 17,
        Command::OpenLane { .. } => 18,
        Command::LimitLane { .. } => 19,
        Command::CloseLane { .. } => 20,
        Command::LimitFlight { .. } => 21,
        Command::PayBatch { .. } => 22,
        Command::OfferHold { .. } => 23,
        Command::OfferBundle { .. } => 24,
        Command::GrowHold { .. } => 25,
        Command::FoldHold { .. } => 26,
        Command::FulfilHold { .. } => 27,
        Command::ReleaseHold { .. } => 28,
        Command::SettleHeld { .. } => 29,
        Command::TendHolds { .. } => 30,
        Command::CreditWork { .. } => 31,
        Command::BindWorker { .. } => 32,
        Command::TendWork(_) => 33,
        Command::LogWork { .. } => 34,
        Command::FindBlock(_) => 35,
    }
}

/// The kinds of input, by [`input_index`].
pub(super) const INPUTS: [&str; 7] =
    ["Connected", "Disconnected", "Received", "Tip", "Output", "Woken", "Do"];

/// A new input does not compile here: give it an index, a name above and a place in [`all`].
pub(super) const fn input_index(input: &Input) -> usize {
    match input {
        Input::Connected(_) => 0,
        Input::Disconnected(_) => 1,
        Input::Received(..) => 2,
        Input::Tip(_) => 3,
        Input::Output(..) => 4,
        Input::Woken => 5,
        Input::Do(_) => 6,
    }
}

/// The input's name in the matrix, and beside it what `how` says.
fn named(how: &str, input: Input) -> (String, Input) {
    let name = match &input {
        Input::Do(command) => COMMANDS[command_index(command)],
        Input::Received(_, message) => message.name(),
        input => INPUTS[input_index(input)],
    };
    let name = if how.is_empty() { String::from(name) } else { format!("{name} ({how})") };
    (name, input)
}

/// What peers say, and what the chain shows: made once, because it takes stages of its own.
pub(super) struct Words {
    messages: Vec<(&'static str, Message)>,
    draft: Settlement,
    batch: Sealed,
    held: HoldSettlement,
    settlement: Transaction,
    refund: Transaction,
}

impl Words {
    pub(super) fn new() -> Self {
        let mut running = Scene::Running.build();
        let outpoint = running.outpoint;
        let (script, rate) = (wallet(8), FeeRate::new(1_000).unwrap());
        let draft = running.nodes[SELLER].draft_settlement(&[outpoint], &[], script, rate).unwrap();
        running.run(SELLER, settle(outpoint));
        let settlement = running.flush(SELLER).broadcasts.remove(0).remove(0);
        let mut late = Scene::Running.build();
        late.handle(BUYER, Input::Tip(tip(CONFIRMED + 144))).unwrap();
        let _again = late.flush(BUYER);
        late.run(BUYER, refund(outpoint));
        let refund = late.flush(BUYER).broadcasts.remove(0).remove(0);
        let mut messages = asked();
        messages.extend(said());
        messages.extend(flown());
        messages.extend(held());
        messages.extend(plain());
        let batch = Scene::Flying.build().sealed(100);
        let held =
            Scene::Holding.build().nodes[SELLER].draft_hold_settlement(outpoint, &[]).unwrap();
        Self { messages, draft, batch, held, settlement, refund }
    }
}

/// Every input, fresh, for a stage.
pub(super) fn all(stage: &Stage, words: &Words) -> Vec<(String, Input)> {
    let commands = commands(stage, words).into_iter().map(|command| named("", Input::Do(command)));
    let messages = words.messages.iter().map(|(how, message)| {
        // The link of the other side, which is all that a message proves.
        named(how, Input::Received(LINK, message.clone()))
    });
    let first = words.messages.iter().take(1);
    let unlinked = first.map(|(_, m)| named("no link", Input::Received(LinkId(9), m.clone())));
    commands.chain(messages).chain(unlinked).chain(driver(stage, words)).collect()
}

fn refund(outpoint: OutPoint) -> Command {
    Command::Refund { outpoint, script: wallet(8), rate: FeeRate::new(1_000).unwrap() }
}

fn commands(stage: &Stage, words: &Words) -> Vec<Command> {
    let (outpoint, session) = (stage.outpoint, id(7));
    let total = Quantity::new(stage.total + 10_000).unwrap();
    let (more, ending) = (msat(1_000), Ending::KeepsChange);
    let witnesses = Vec::from([Witness::from_slice(&[[0; 64]])]);
    let (skew, tolerance) = (secs(5), Ppm::new(25_000).unwrap());
    let lane = Lane::new(1).unwrap();
    let stands = stage.nodes[BUYER].front(outpoint).is_ok();
    let batch = if stands { stage.sealed(100) } else { words.batch.clone() };
    Vec::from([
        Command::AskTerms(LINK),
        stage.fund(Some(LINK)),
        Command::Adopt(Box::new(stage.opening.funded(outpoint).0)),
        Command::Attach { link: LINK, outpoint },
        Command::Pay { outpoint, more, session, ending },
        settle(outpoint),
        close(outpoint),
        top_up(outpoint),
        Command::Abandon { outpoint },
        Command::FinishTopUp { outpoint, witnesses },
        refund(outpoint),
        offer(9),
        Command::ChangeTariff { session, next: id(9), tariff: tariff(1), skew, tolerance },
        accept(7, outpoint),
        Command::Meter { session, total },
        Command::EndSession(session),
        Command::ForgetSession(session),
        Command::SettleDrafted { settlement: Box::new(words.draft.clone()), witnesses: Vec::new() },
        open_lane(outpoint),
        Command::LimitLane { outpoint, lane, limit: msat(200_000) },
        Command::CloseLane { outpoint, lane },
        Command::LimitFlight { outpoint, limits: FlightLimits::default() },
        pay_batch(outpoint, batch),
        offer_hold(outpoint, 3_000),
        bundle(outpoint, 1),
        Command::GrowHold { outpoint, id: hold(1), amount: sat(6_000), session: id(3) },
        Command::FoldHold { outpoint, id: hold(1), preimage: preimage(), session: id(3) },
        fulfil_hold(outpoint),
        release_hold(outpoint),
        Command::SettleHeld { settlement: Box::new(words.held.clone()), witnesses: Vec::new() },
        tend_holds(),
        credit_work(),
        bind_worker(outpoint),
        Command::TendWork(WorkPolicy::default()),
        log_work(),
        find_block(),
    ])
}

/// A bundle of two items that cost 3,000,500 msat together, and `more`.
fn bundle(outpoint: OutPoint, more: u64) -> Command {
    let mut builder = BundleSum::builder(LeafSize::ONE).unwrap();
    let mut bundling = Bundling::new(preimage().hash(), height(201));
    for (number, amount) in [(1, 3_000_000), (2, 500 + more)] {
        let charge = Charge::Amount(msat(amount));
        let (lane, id) = (Lane::MIN, ItemId::new(number).unwrap());
        builder.push(&Item { lane, id, charge, hash: None }).unwrap();
        bundling.push(msat(amount)).unwrap();
    }
    let sealed = builder.seal().unwrap();
    let bundle = bundling.seal(BundleSum::of(&sealed).unwrap()).unwrap();
    Command::OfferBundle { outpoint, bundle, items: sealed.bytes, session: id(3) }
}

/// What is said of holds.
fn held() -> Vec<(&'static str, Message)> {
    let outpoint = Scene::Apart.build().outpoint;
    let first = |scene: Scene, side, command| {
        let mut stage = scene.build();
        if scene == Scene::Open {
            stage.open_budget();
        }
        stage.run(side, command);
        let left = stage.flush(side);
        left.sends.into_iter().map(|(_, message)| message).collect::<Vec<_>>()
    };
    let offered = first(Scene::Open, BUYER, offer_hold(outpoint, 5_000)).remove(0);
    let Message::HoldVoucher(voucher) = &offered else { panic!("{offered:?}") };
    let mut bundled = first(Scene::Open, BUYER, bundle(outpoint, 0));
    let (items, with) = (bundled.remove(1), bundled.remove(0));
    let ended = wire::HoldVoucher { holds: wire::HeldAmounts::default(), ..voucher.clone() };
    let ack = answered(Scene::Open, offered.clone());
    let told = first(Scene::Holding, SELLER, fulfil_hold(outpoint)).remove(0);
    let released = first(Scene::Holding, SELLER, release_hold(outpoint)).remove(0);
    let Message::HoldFulfilled(fulfilled) = told else { panic!("{told:?}") };
    let alias = voucher.alias;
    let resume = wire::Resume { alias, outpoint: Some(outpoint) };
    Vec::from([
        ("", offered.clone()),
        ("forged", wire::HoldVoucher { paid: msat(9_000_000), ..voucher.clone() }.into()),
        ("without its holds", ended.into()),
        ("bundle", with),
        ("", items),
        ("", ack),
        ("other state", wire::HoldAck { alias, paid: Msat::ZERO, state: [7; 32] }.into()),
        ("too much", wire::HoldAck { alias, paid: msat(9_000_000), state: [7; 32] }.into()),
        ("", fulfilled.into()),
        ("wrong", wire::HoldFulfilled { preimage: [7; 32], ..fulfilled }.into()),
        ("", released),
        ("", answered(Scene::Holding, resume.into())),
    ])
}

/// What the driver says: of connections, the chain and the time.
fn driver(stage: &Stage, words: &Words) -> Vec<(String, Input)> {
    let (outpoint, unspent) = (stage.outpoint, stage.status());
    let spent = |tx: &Transaction, at| {
        let spent = Some(Spend { tx: tx.clone(), confirmed: Some(height(at)) });
        Some(OutputStatus { spent, ..unspent.clone() })
    };
    let foreign = OutputStatus { script: wallet(3), ..unspent.clone() };
    let smaller = OutputStatus { value: sat(CAPACITY - 1), ..unspent.clone() };
    let output = |how, status| named(how, Input::Output(outpoint, status));
    let in_block = |at| Some(OutputStatus { confirmed: Some(height(at)), ..unspent.clone() });
    let mined = |how, status| named(how, Input::Output(coinbase(), status));
    Vec::from([
        mined("coinbase, fresh", in_block(DEEP)),
        mined("coinbase, buried", in_block(DEEP - 3)),
        mined("coinbase, dropped", None),
        named("", Input::Connected(LinkId(2))),
        named("", Input::Disconnected(LINK)),
        named("", Input::Tip(tip(DEEP + 1))),
        named("", Input::Woken),
        output("unknown", None),
        output("unspent", Some(unspent.clone())),
        output("in the mempool", Some(OutputStatus { confirmed: None, ..unspent.clone() })),
        output("settled", spent(&words.settlement, DEEP)),
        output("settled, buried", spent(&words.settlement, DEEP - 5)),
        output("refunded, buried", spent(&words.refund, DEEP - 5)),
        output("foreign script", Some(foreign)),
        output("other value", Some(smaller)),
    ])
}

/// The first message that `side` sends in `scene` because of `command`.
fn sent(scene: Scene, side: usize, command: Command) -> Message {
    let mut stage = scene.build();
    stage.run(side, command);
    // Presence is shown by a voucher before a session starts.
    let (_, last) = stage.flush(side).sends.pop().unwrap();
    last
}

/// What `SELLER` answers to `message` in `scene`.
fn answered(scene: Scene, message: Message) -> Message {
    let mut stage = scene.build();
    stage.handle(SELLER, Input::Received(LINK, message)).unwrap();
    stage.flush(SELLER).sends.remove(0).1
}

/// What the nodes themselves say when they are asked to: right signatures, right amounts.
fn asked() -> Vec<(&'static str, Message)> {
    let outpoint = Scene::Apart.build().outpoint;
    let (session, ending, more) = (id(7), Ending::KeepsChange, msat(1_000));
    let pay = Command::Pay { outpoint, more, session, ending };
    let voucher = sent(Scene::Running, BUYER, pay);
    let Message::Voucher(newer) = &voucher else { panic!("{voucher:?}") };
    let forged = wire::Voucher { paid: msat(9_000_000), ..*newer };
    let stale = wire::Voucher { paid: Msat::ZERO, ..*newer };
    let close = sent(Scene::Settled, BUYER, close(outpoint));
    let top_up = sent(Scene::Running, BUYER, top_up(outpoint));
    let resume = sent(Scene::Running, BUYER, Command::Attach { link: LINK, outpoint });
    let fund = Scene::Linked.build().fund(Some(LINK));
    let open = sent(Scene::Linked, BUYER, fund);
    let Message::Open(opening) = &open else { panic!("{open:?}") };
    let chain = bitcoin::constants::ChainHash::BITCOIN;
    let elsewhere = wire::Open { chain, ..opening.clone() };
    Vec::from([
        ("newer", voucher.clone()),
        ("forged", forged.into()),
        ("stale", stale.into()),
        ("", open),
        ("other chain", elsewhere.into()),
        ("", answered(Scene::Running, resume.clone())),
        ("", resume),
        ("", answered(Scene::Settled, close.clone())),
        ("", close),
        ("", answered(Scene::Running, top_up.clone())),
        ("", top_up),
        ("", sent(Scene::Open, SELLER, offer(7))),
        ("another", sent(Scene::Open, SELLER, offer(8))),
        ("", sent(Scene::Offered, BUYER, accept(7, outpoint))),
        ("", sent(Scene::Linked, BUYER, Command::AskTerms(LINK))),
        ("", wire::Terms { terms: Bytes::new(terms().encode()).unwrap() }.into()),
    ])
}

/// What is said of channel and session as they stand while the session runs.
fn said() -> Vec<(&'static str, Message)> {
    let stage = Scene::Running.build();
    let (alias, session) = (ChannelAlias::MIN, id(7));
    let paid = stage.nodes[BUYER].payer(stage.outpoint).unwrap().signed();
    let (time, quantity) = (stage.now.time, Quantity::new(stage.total).unwrap());
    let more = Quantity::new(stage.total + 20_000).unwrap();
    let ahead = paid.saturating_add(msat(1_000));
    let offer = offer_hash(8, &tariff(1));
    let start = wire::SessionStart { session: id(8), alias, offer, time };
    let refused = |code| wire::Refused { alias, code, best: ahead, session: None };
    let standing = wire::Standing::Ready;
    Vec::from([
        ("", wire::Ack { alias, paid }.into()),
        ("too much", wire::Ack { alias, paid: ahead }.into()),
        ("", wire::Reading { session, time, quantity: more, idle: None }.into()),
        ("again", wire::Reading { session, time, quantity, idle: None }.into()),
        ("stale", refused(Refusal::Stale).into()),
        ("unknown", refused(Refusal::UnknownChannel).into()),
        ("busy", refused(Refusal::Busy).into()),
        ("", wire::Accepted { alias, paid, standing }.into()),
        ("unknown session", start.into()),
        ("", wire::SessionPause { session, time, owed: paid }.into()),
        ("", wire::SessionEnd { session, time, quantity }.into()),
        ("", statement(paid)),
        ("other amount", statement(ahead)),
    ])
}

/// The seller's statement of session 7, with `owed` in it.
fn statement(owed: Msat) -> Message {
    let mut stage = Scene::Settled.build();
    let session = stage.nodes[SELLER].session(id(7)).unwrap();
    let OutPoint { txid, vout } = stage.outpoint;
    let mut statement = session.statement(txid.to_byte_array(), vout).unwrap();
    statement.owed = owed;
    let bytes = statement.encode();
    let request = Request::Attest { kind: Attest::Statement, bytes: &bytes };
    let now = stage.now;
    let signature = stage.nodes[SELLER].signer.sign(&request, now.time, &now.aux).unwrap();
    let blob = Bytes::new([&bytes[..], &signature.serialize()].concat()).unwrap();
    wire::Statement { session: id(7), statement: blob }.into()
}

/// What is said of batches, by those that have them and those that lost them.
fn flown() -> Vec<(&'static str, Message)> {
    let late = |scene: Scene| {
        let mut stage = scene.build();
        stage.pass(1_000);
        stage.handle(BUYER, Input::Woken).unwrap();
        stage.flush(BUYER).sends.remove(0).1
    };
    let (window, query) = (late(Scene::Flying), late(Scene::Asking));
    let Message::BatchVoucher(batch) = &window else { panic!("{window:?}") };
    let start = batch.start.saturating_add(msat(1));
    let part = wire::BatchPart {
        alias: batch.alias,
        paid: batch.paid,
        offset: 9,
        part: Bytes::new(Vec::from([0; 9])).unwrap(),
    };
    let told = answered(Scene::Asking, query.clone());
    let Message::LanesTold(held) = &told else { panic!("{told:?}") };
    let refused = |code| {
        let (alias, best) = (batch.alias, batch.start);
        wire::Refused { alias, code, best, session: None }
    };
    Vec::from([
        ("", window.clone()),
        ("forged", wire::BatchVoucher { paid: msat(9_000_000), ..batch.clone() }.into()),
        ("after a gap", wire::BatchVoucher { start, ..batch.clone() }.into()),
        ("other root", wire::BatchVoucher { root: [7; 32], ..batch.clone() }.into()),
        ("held already", wire::BatchVoucher { paid: msat(900), ..batch.clone() }.into()),
        ("", part.into()),
        ("", query),
        ("", told.clone()),
        ("other sum", wire::LanesTold { paid: msat(7), ..held.clone() }.into()),
        ("gap", refused(Refusal::Gap).into()),
        ("other lanes", refused(Refusal::OtherLanes).into()),
    ])
}

/// What has nothing to do with channels.
fn plain() -> Vec<(&'static str, Message)> {
    let (channel, text) = ([0; 32], PeerText::default());
    let init = wire::Init {
        global_features: Bytes::default(),
        features: Bytes::default(),
        networks: None,
    };
    Vec::from([
        ("", init.into()),
        ("", wire::PeerWarning { channel, text: text.clone() }.into()),
        ("", wire::PeerError { channel, text }.into()),
        ("", wire::Ping { wanted: 1, padding: Padding::default() }.into()),
        ("", wire::Pong { padding: Padding::default() }.into()),
    ])
}
