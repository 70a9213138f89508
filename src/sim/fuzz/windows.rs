//! A payee against any windows of batches, signed by its payer.

use super::voucher::Stage;
use crate::batch::flight::Front;
use crate::batch::lanes::Lanes;
use crate::batch::{Batch, Sealed};
use crate::keys::Entropy;
use crate::tx::Voucher;
use crate::units::Msat;

/// More items are a matter of time, not of form.
const ITEMS_MAX: u32 = 4_096;

/// Shows a payee windows, each of them: how it is changed (1), by how much (2), length of the
/// stated lanes (1), they, length of the batch (2), it.
///
/// # Panics
/// If a window counts that is not what its voucher and its root say, if lanes and `paid` part, or
/// if a refused one has an effect.
pub fn windows(data: &[u8]) {
    let Some(stage) = Stage::new() else { return };
    let mut desk = Desk { stage, lanes: Lanes::new(Msat::ZERO) };
    let mut from = data;
    while let Some(window) = Window::take(&mut from) {
        desk.show(&window);
    }
}

struct Window<'a> {
    how: u8,
    by: u16,
    lanes: &'a [u8],
    batch: &'a [u8],
}

impl<'a> Window<'a> {
    fn take(from: &mut &'a [u8]) -> Option<Self> {
        let ([how, high, low, lanes], rest) = from.split_first_chunk::<4>()?;
        let (lanes, rest) = rest.split_at_checked(usize::from(*lanes))?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (batch, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        *from = rest;
        Some(Self { how: *how, by: u16::from_be_bytes([*high, *low]), lanes, batch })
    }
}

struct Desk {
    stage: Stage,
    lanes: Lanes,
}

impl Desk {
    fn show(&mut self, window: &Window<'_>) {
        let Ok(batch) = Batch::parse(window.batch) else { return };
        if batch.items() > ITEMS_MAX {
            return;
        }
        let stated = Lanes::decode(window.lanes);
        let follows =
            stated.as_ref().is_ok_and(|lanes| self.lanes.check_followed_by(lanes).is_ok());
        if let (true, Ok(lanes)) = (follows, &stated) {
            assert_eq!(lanes.paid(), self.lanes.paid(), "a statement moved money");
            assert_eq!(Lanes::decode(&lanes.encode()).as_ref(), Ok(lanes));
        }
        let lanes = match stated {
            Ok(lanes) if follows => lanes,
            _ => opened(&self.lanes, &batch),
        };
        let Some(sealed) = again(&Front::new(&self.stage.payee, lanes.clone()), &batch) else {
            return;
        };
        self.pay(window, &batch, &lanes, &sealed);
    }

    /// The right window, or one that is changed in one place.
    fn pay(&mut self, window: &Window<'_>, batch: &Batch<'_>, lanes: &Lanes, sealed: &Sealed) {
        let claim = &sealed.credited.claim;
        let by = Msat::new(u64::from(window.by)).unwrap_or(Msat::ZERO);
        let (mut start, mut paid, mut root) = (claim.start, claim.paid, claim.root);
        match window.how & 3 {
            0 => {}
            1 => start = start.saturating_add(by),
            2 => paid = paid.saturating_add(by),
            _ => {
                if let Some(byte) = root.get_mut(usize::from(window.how >> 3)) {
                    *byte ^= window.how;
                }
            }
        }
        let right = (start, paid, root) == (claim.start, claim.paid, claim.root);
        let (context, payee) = (&self.stage.context, &self.stage.payee);
        let Ok(digest) = payee.channel().digest(paid) else { return };
        let signature = self.stage.payer.sign(context, digest, &Entropy::new([0; 32]));
        let voucher = Voucher { paid, signature };
        let before = payee.clone();
        let accepted = payee
            .check_batch(context, voucher, start, Msat::ZERO, &self.stage.view)
            .and_then(|accepted| payee.accept_batch(accepted, lanes, batch, root));
        match accepted {
            Ok(step) => {
                assert!(right, "another window was counted");
                assert_eq!(step.credited(), &sealed.credited);
                assert_eq!(self.stage.payee.apply(step.record()), Ok(()));
                self.lanes = step.credited().lanes.clone();
                assert_eq!(self.lanes.paid(), Ok(self.stage.payee.paid()));
            }
            Err(_) => assert_eq!(self.stage.payee, before, "a refused window had an effect"),
        }
    }
}

/// `lanes` with those open that the batch pays in.
fn opened(lanes: &Lanes, batch: &Batch<'_>) -> Lanes {
    let mut lanes = lanes.clone();
    let _wrong = batch.visit(|item, _| {
        // One too many is refused with the item.
        let _open = lanes.open(item.lane, Msat::MAX);
    });
    lanes
}

/// The batch built anew at `front`; `None` if it is not one that can be paid there.
fn again(front: &Front, batch: &Batch<'_>) -> Option<Sealed> {
    let mut builder = front.build(batch.leaf_size()).ok()?;
    let mut refused = false;
    let visited = batch.visit(|item, _| refused |= builder.push(item).is_err());
    if visited.is_err() || refused { None } else { builder.seal().ok() }
}
