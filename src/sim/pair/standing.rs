//! Both machines in a few lines, for whoever looks for a fault.

use core::fmt;

use super::stage::Pair;

/// Both machines in a few lines, for whoever looks for a fault.
pub(super) struct Standing<'a>(pub(super) &'a Pair);

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = self.0;
        let tip = pair.world.chain().with(|chain| chain.tip().height);
        writeln!(f, "  tip {tip}, link {:?}, refused {:?}", pair.link, pair.refusal)?;
        for end in [pair.payer, pair.payee].into_iter().filter_map(|end| pair.world.end(end)) {
            for payer in end.node().payers() {
                let (at, signed, phase) = (payer.outpoint(), payer.signed(), payer.phase());
                let status = pair.world.chain().with(|chain| chain.output(at).is_some());
                writeln!(
                    f,
                    "  payer {at}: {signed} {phase:?} until {:?}, on chain {status}",
                    payer.deadline()
                )?;
            }
            for payee in end.node().payees() {
                let (at, paid, phase) = (payee.outpoint(), payee.paid(), payee.phase());
                writeln!(f, "  payee {at}: {paid} {phase:?}")?;
            }
            for (meter, link) in end.node().sessions() {
                writeln!(f, "  session at {link:?}: {:?}", meter.record())?;
            }
            for refusal in end.refusals().collect::<Vec<_>>().into_iter().rev().take(2) {
                writeln!(f, "  {} refused {refusal:?}", end.name())?;
            }
        }
        Ok(())
    }
}
