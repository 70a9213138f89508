//! What a payer's channel offers to batches: it stands where the last signed window ends.

use bitcoin::OutPoint;
use bitcoin::secp256k1::XOnlyPublicKey;

use super::Payer;
use crate::batch::Channel;
use crate::units::Msat;

impl Channel for Payer {
    fn outpoint(&self) -> OutPoint {
        self.record.outpoint
    }

    fn payee(&self) -> XOnlyPublicKey {
        self.record.base
    }

    fn paid(&self) -> Msat {
        self.record.signed
    }

    fn room(&self) -> Msat {
        self.spendable()
    }
}
