//! How `pay` and `pool` fund a new channel: under a key that no other ever had, and not before its
//! backup is durable.
//!
//! ```text
//!   backups in the store --> Funded: keys in use, the next one --.
//!   the payee's terms, capacity, delay ---------------------> Opening --pays--> Command::Fund
//! ```

use std::collections::BTreeMap;

use bitcoin::{Network, OutPoint, ScriptBuf, Transaction};
use millstream::keys::{BackupKey, Seed};
use millstream::node::{Command, LinkId, Node};
use millstream::rt::Driver;
use millstream::signer::{KeyName, MemorySigner, Signer};
use millstream::store::Store;
use millstream::stream::payer::Opening;
use millstream::stream::{Backup, Terms};
use millstream::tx::{ChangeScript, Delay};
use millstream::units::{KeyIndex, Sat};

use crate::backup::sealed_backups;
use crate::failure::Failure;
use crate::machine;

/// A channel that is to be.
pub(crate) struct NewChannel {
    /// The payee's link, to whom it is shown.
    pub(crate) link: LinkId,
    pub(crate) terms: Terms,
    pub(crate) capacity: Sat,
    pub(crate) delay: Delay,
}

/// All channels that were ever funded out of a folder, closed ones included: their backups stay.
pub(crate) struct Funded {
    backup_key: BackupKey,
    /// Where each key's channel was funded: its backup's name.
    outpoints: BTreeMap<KeyIndex, OutPoint>,
}

impl Funded {
    pub(crate) fn load(store: &dyn Store, seed: &Seed, network: Network) -> Result<Self, Failure> {
        let mut outpoints = BTreeMap::new();
        for sealed in sealed_backups(store)? {
            let Backup { index, outpoint, .. } = Backup::open(&sealed, seed, network)?;
            outpoints.insert(index, outpoint);
        }
        Ok(Self { backup_key: seed.backup_key(network), outpoints })
    }

    /// Where the channel of this key was funded.
    pub(crate) fn outpoint(&self, index: KeyIndex) -> Option<OutPoint> {
        self.outpoints.get(&index).copied()
    }

    /// Never the key of another channel.
    fn next(&self) -> Result<KeyIndex, Failure> {
        Ok(match self.outpoints.last_key_value() {
            Some((used, _)) => KeyIndex::new(used.to_u32() + 1)?,
            None => KeyIndex::MIN,
        })
    }

    /// What makes the node take a new channel whose funding `pays` signs, and where that is.
    ///
    /// `pays` must not broadcast it: a coin that is on the chain before its backup is durable is
    /// lost with the folder. The node does both, in that order, when it is given this command.
    pub(crate) async fn fund<E>(
        &mut self,
        driver: &Driver<MemorySigner>,
        channel: NewChannel,
        pays: impl FnOnce(ScriptBuf, Sat) -> Result<Transaction, E>,
    ) -> Result<(Command, OutPoint), Failure>
    where
        Failure: From<E>,
    {
        let NewChannel { link, terms, capacity, delay } = channel;
        let (index, now) = (self.next()?, machine::now()?.time);
        let open = move |node: &mut Node<MemorySigner>| -> Result<Opening, Failure> {
            let key = node.signer_mut().public(KeyName::Payer(index))?;
            let view = node.view(now)?;
            let change = ChangeScript::Own;
            let context = node.context();
            Ok(Opening::new(context, &terms, index, key, delay, capacity, change, &view)?)
        };
        let opening = driver.look(open).await??;
        let funding = pays(opening.script().clone(), opening.capacity())?;
        let outpoint = OutPoint { txid: funding.compute_txid(), vout: 0 };
        let backup = opening.funded(outpoint).1.seal(&self.backup_key);
        // Whatever comes of it: a key whose funding was signed is used.
        self.outpoints.insert(index, outpoint);
        let (link, opening) = (Some(link), Box::new(opening));
        Ok((Command::Fund { link, opening, funding, vout: 0, backup }, outpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_key_is_above_every_one_that_was_used_and_none_is_left_after_the_last() {
        let next = |used: &[u32]| {
            let used = used.iter().map(|index| (KeyIndex::new(*index).unwrap(), OutPoint::null()));
            let backup_key = Seed::new([7; 32]).backup_key(Network::Regtest);
            Funded { backup_key, outpoints: used.collect() }.next()
        };
        assert_eq!(next(&[]).unwrap(), KeyIndex::MIN);
        assert_eq!(next(&[9, 0, 4]).unwrap(), KeyIndex::new(10).unwrap());
        assert!(next(&[KeyIndex::MAX.to_u32()]).is_err());
    }
}
