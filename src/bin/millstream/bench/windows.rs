//! Both ends of a channel that pays in windows: the fixture of the batch rows, and of
//! `benches/batch.rs`, which includes this file.

use std::error::Error;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{Message, XOnlyPublicKey};
use bitcoin::{Network, OutPoint};
use millstream::batch::flight::Flight;
use millstream::batch::item::{Charge, Item, LeafSize, Run};
use millstream::batch::lanes::{Credited, Lanes};
use millstream::batch::receipt::Statement;
use millstream::batch::{Batch, BatchError, Builder, Channel, Claim, Sealed};
use millstream::keys::{ChannelKey, Context, Entropy, Seed, tagged_hash};
use millstream::units::{ChannelAlias, ItemId, KeyIndex, Lane, Msat, Price, Quantity};
use millstream::wire::{BATCH_PART_MAX, BatchPart, BatchVoucher, Bytes, write_frame};

/// Where the ids begin: those of a machine that has sold for a while.
const FIRST_ID: u64 = 5_000_000;

/// What the items of a window cost, msat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    Constant,
    /// Uniform from 0.
    To1000,
    To1000000,
    /// 99 in 100 uniform up to 100, the others up to 1,000,000.
    Skewed,
}

impl Mix {
    /// For notes.
    #[allow(dead_code, reason = "`benches/batch.rs` includes this file and prints no notes")]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Constant => "10 msat",
            Self::To1000 => "0-1,000 msat",
            Self::To1000000 => "0-1,000,000 msat",
            Self::Skewed => "99 % to 100, 1 % to 1,000,000 msat",
        }
    }

    /// The charges of a window, from a seeded xorshift64*.
    pub(crate) fn charges(self, count: u32) -> Vec<Charge> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = move |top: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % (top + 1)
        };
        let mut one = || match self {
            Self::Constant => 10,
            Self::To1000 => random(1_000),
            Self::To1000000 => random(1_000_000),
            Self::Skewed if random(99) == 0 => random(1_000_000),
            Self::Skewed => random(100),
        };
        (0..count).map(|_| Charge::Amount(Msat::new(one()).unwrap_or(Msat::ZERO))).collect()
    }
}

/// What one side knows of the channel.
struct View {
    payee: XOnlyPublicKey,
    paid: Msat,
}

impl Channel for View {
    fn outpoint(&self) -> OutPoint {
        OutPoint::null()
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.payee
    }

    fn paid(&self) -> Msat {
        self.paid
    }

    fn room(&self) -> Msat {
        Msat::MAX.saturating_sub(self.paid)
    }
}

/// Payer and payee of one channel with one lane.
pub(crate) struct Windows {
    pub(crate) context: Context,
    payer: ChannelKey,
    payee: XOnlyPublicKey,
    ours: Lanes,
    theirs: Lanes,
    flight: Flight,
    /// What the payee holds.
    paid: Msat,
    next: u64,
    /// The payee's record, synced once a window; nothing is written without.
    file: Option<File>,
    /// Items that the payee visited.
    pub(crate) visited: u64,
    /// Items that were acknowledged after the sync.
    pub(crate) acknowledged: u64,
}

impl Windows {
    /// A channel without payments, whose payee keeps its record in a file of `dir`.
    pub(crate) fn new(dir: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let context = Context::new();
        let payer = Seed::new([1; 32]).payer_key(&context, Network::Regtest, KeyIndex::MIN)?;
        let payee = Seed::new([2; 32]).base_key(&context, Network::Regtest)?.public();
        let mut ours = Lanes::new(Msat::ZERO);
        ours.open(Lane::MIN, Msat::MAX)?;
        let file = match dir {
            Some(dir) => Some(File::create(dir.join("windows"))?),
            None => None,
        };
        Ok(Self {
            context,
            payer,
            payee,
            theirs: ours.clone(),
            ours,
            flight: Flight::new(Msat::ZERO, 1, Msat::MAX),
            paid: Msat::ZERO,
            next: FIRST_ID,
            file,
            visited: 0,
            acknowledged: 0,
        })
    }

    /// One window from the first item to its acknowledgement; returns its bytes.
    pub(crate) fn pay(
        &mut self,
        charges: &[Charge],
        leaf_size: LeafSize,
    ) -> Result<usize, Box<dyn Error>> {
        let sealed = self.seal(charges, leaf_size)?;
        let claim = sealed.credited.claim;
        let bytes = sealed.bytes.clone();
        self.ours = sealed.credited.lanes.clone();
        self.flight.launch(sealed)?;
        let signature = self.payer.sign(&self.context, digest(&claim), &Entropy::new([3; 32]));
        self.accept(&bytes, &claim, &signature)?;
        self.flight.acknowledge(self.paid)?;
        self.acknowledged += u64::from(claim.items);
        on_the_wire(&bytes, &claim, signature)
    }

    /// A window of `ticks` that both ends count, paid as one item.
    pub(crate) fn tick(&mut self, ticks: u32) -> Result<(), Box<dyn Error>> {
        let price = Price::new(Msat::new(450_000)?, 3_600_000)?;
        let (mut ours, mut theirs) = (Run::new(price, Msat::MAX), Run::new(price, Msat::MAX));
        let units = Quantity::new(22_000)?;
        for _ in 0..ticks {
            // What a tick counts comes from outside, and is not known when this is compiled.
            ours.tick(core::hint::black_box(units))?;
        }
        for _ in 0..ticks {
            theirs.tick(core::hint::black_box(units))?;
        }
        self.pay(&[ours.charge()], LeafSize::ONE)?;
        if ours != theirs {
            return Err("the two ends counted different ticks".into());
        }
        Ok(())
    }

    /// The payer's side: every item by a call of its own.
    pub(crate) fn seal(
        &mut self,
        charges: &[Charge],
        leaf_size: LeafSize,
    ) -> Result<Sealed, Box<dyn Error>> {
        let view = View { payee: self.payee, paid: self.flight.end() };
        let mut builder = Builder::new(&view, &self.ours, leaf_size)?;
        for charge in charges {
            let id = ItemId::new(self.next)?;
            builder.push(&Item { lane: Lane::MIN, id, charge: *charge, hash: None })?;
            self.next += 1;
        }
        Ok(builder.seal()?)
    }

    /// What the payee states of a batch.
    pub(crate) fn statement(&self, claim: &Claim) -> Statement {
        Statement::new(&View { payee: self.payee, paid: self.paid }, claim, [0; 32])
    }

    /// The payee's side: signature, form, every item, sum and root; then the record.
    fn accept(
        &mut self,
        bytes: &[u8],
        claim: &Claim,
        signature: &Signature,
    ) -> Result<(), Box<dyn Error>> {
        let message = Message::from_digest(digest(claim));
        self.context.secp().verify_schnorr(signature, &message, &self.payer.public())?;
        let credited = self.check(bytes, claim)?;
        self.visited += u64::from(claim.items);
        self.theirs = credited.lanes;
        self.paid = claim.paid;
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&[&self.theirs.encode()[..], signature.as_ref()].concat())?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Form, every item with a visit, sum and root.
    pub(crate) fn check(&self, bytes: &[u8], claim: &Claim) -> Result<Credited, Box<dyn Error>> {
        let view = View { payee: self.payee, paid: self.paid };
        let (mut visited, mut sum) = (0_u32, 0_u64);
        let credited = Batch::parse(bytes)?.check(&view, &self.theirs, claim, |_, amount| {
            visited += 1;
            sum += amount.to_msat();
        })?;
        let paid = claim.paid.saturating_sub(claim.start).to_msat();
        if (visited, sum) != (claim.items, paid) {
            return Err("the payee was shown other items".into());
        }
        Ok(credited)
    }

    /// That a changed item, sum or root is refused by what measures.
    pub(crate) fn refuses_changes(&mut self) -> Result<(), Box<dyn Error>> {
        let next = self.next;
        let sealed = self.seal(&Mix::To1000.charges(1_000), LeafSize::new(16)?)?;
        self.next = next;
        let (claim, bytes) = (sealed.credited.claim, &sealed.bytes);
        let view = View { payee: self.payee, paid: self.paid };
        let check = |bytes: &[u8], claim: &Claim| {
            Batch::parse(bytes)?.check(&view, &self.theirs, claim, |_, _| {})
        };
        if check(bytes, &claim)?.claim != claim {
            return Err("another batch was counted".into());
        }
        let mut item = bytes.clone();
        if let Some(byte) = item.get_mut(200) {
            *byte ^= 1;
        }
        let more = Claim { paid: claim.paid.saturating_add(Msat::new(1)?), ..claim };
        let mut root = claim;
        root.root[31] ^= 1;
        for (what, refused) in [
            ("item", check(&item, &claim).is_err()),
            ("sum", matches!(check(bytes, &more), Err(BatchError::SumDiffers { .. }))),
            ("root", check(bytes, &root) == Err(BatchError::RootDiffers)),
        ] {
            if !refused {
                return Err(format!("a changed {what} was counted").into());
            }
        }
        Ok(())
    }
}

/// Bytes of a window: its voucher and its batch, cut into messages, with their frames.
fn on_the_wire(bytes: &[u8], claim: &Claim, signature: Signature) -> Result<usize, Box<dyn Error>> {
    let (alias, paid, start, root) = (ChannelAlias::MIN, claim.paid, claim.start, claim.root);
    let mut parts = bytes.chunks(BATCH_PART_MAX);
    let part = Bytes::new(parts.next().unwrap_or_default().to_vec())?;
    let mut offset = u32::try_from(part.as_slice().len())?;
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length > offset);
    let first = BatchVoucher { alias, paid, signature, start, root, part, length, lanes: None };
    let mut frames = Vec::new();
    write_frame(&first.into(), &mut frames)?;
    for part in parts {
        let part = Bytes::new(part.to_vec())?;
        let next = u32::try_from(part.as_slice().len())?;
        write_frame(&BatchPart { alias, paid, offset, part }.into(), &mut frames)?;
        offset += next;
    }
    Ok(frames.len())
}

/// Stands for the voucher's digest: as much is hashed, and all of it is bound.
fn digest(claim: &Claim) -> [u8; 32] {
    let Claim { start, paid, items, root } = claim;
    let parts: [&[u8]; 4] =
        [&start.to_msat().to_be_bytes(), &paid.to_msat().to_be_bytes(), &items.to_be_bytes(), root];
    tagged_hash(b"millstream/bench", &parts)
}
