//! The coinbase: whom it pays, what it commits to, and the bytes that miners vary.

use bitcoin::absolute::LockTime;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};

use crate::chain::template::{Template, TemplateError, amount};
use crate::units::Sat;

/// Stands before the commitment hash (BIP141).
const COMMITMENT_HEADER: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];
/// The sizes of a coinbase's script that consensus takes.
const SCRIPT_MIN: usize = 2;
const SCRIPT_MAX: usize = 100;
/// The largest length that one opcode pushes: the extranonce stands behind such a one, so that
/// none of its bytes counts as an operation.
const PUSH_MAX: usize = 75;
/// Version, number of inputs, the null outpoint and the script's length (below 253, so one byte):
/// what stands before the script.
const BEFORE_SCRIPT: usize = 4 + 1 + 36 + 1;

/// What a pool wants in its coinbase.
///
/// ```
/// use bitcoin::ScriptBuf;
/// use millstream::chain::template::Layout;
///
/// let to_us = ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat());
/// let mut layout = Layout::new(to_us);
/// layout.tag = b"/millstream/".to_vec();
/// assert_eq!((layout.extranonce1_size, layout.extranonce2_size), (4, 8));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// Takes what is left of the coinbase's value; the first output.
    pub pay_to: ScriptBuf,
    /// Others that are paid by the coinbase itself, each with its amount.
    pub shared_with: Vec<(ScriptBuf, Sat)>,
    /// Outputs without value, behind the commitment: merge mining and the like.
    pub markers: Vec<ScriptBuf>,
    /// Script between the height and the extranonce: whole pushes.
    pub before: Vec<u8>,
    /// Script behind the extranonce: the pool's name, say. Bytes that are no pushes are allowed.
    pub tag: Vec<u8>,
    /// Bytes of the extranonce that the pool gives, one value a channel.
    pub extranonce1_size: usize,
    /// Bytes of the extranonce that the miner varies.
    pub extranonce2_size: usize,
    /// The coinbase's version.
    pub version: Version,
}

impl Layout {
    /// Everything to one script; 4 bytes of extranonce for the pool and 8 for the miner.
    pub const fn new(pay_to: ScriptBuf) -> Self {
        Self {
            pay_to,
            shared_with: Vec::new(),
            markers: Vec::new(),
            before: Vec::new(),
            tag: Vec::new(),
            extranonce1_size: 4,
            extranonce2_size: 8,
            version: Version::TWO,
        }
    }

    /// The bytes that are left for channel and miner together.
    pub(super) const fn extranonce_size(&self) -> usize {
        self.extranonce1_size.saturating_add(self.extranonce2_size)
    }

    /// The coinbase of `template` with an extranonce of zeros, without its witness, and how many of
    /// its bytes stand before the extranonce.
    pub(super) fn coinbase(
        &self,
        template: &Template,
    ) -> Result<(Transaction, usize), TemplateError> {
        let size = self.extranonce_size();
        let push = u8::try_from(size).ok().filter(|_| size <= PUSH_MAX);
        let push = push.ok_or(TemplateError::ExtranonceSize { got: size, want: PUSH_MAX })?;
        let height = Builder::new().push_int(i64::from(template.height.to_u32())).into_script();
        let before = [height.as_bytes(), &self.before, &[push]].concat();
        let script = [before.as_slice(), &vec![0; size], &self.tag].concat();
        if !(SCRIPT_MIN..=SCRIPT_MAX).contains(&script.len()) {
            return Err(TemplateError::CoinbaseScript { got: script.len() });
        }
        let tx = Transaction {
            version: self.version,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: ScriptBuf::from_bytes(script),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: self.outputs(template)?,
        };
        Ok((tx, BEFORE_SCRIPT.saturating_add(before.len())))
    }

    fn outputs(&self, template: &Template) -> Result<Vec<TxOut>, TemplateError> {
        let shared = self.shared_with.iter().try_fold(Sat::ZERO, |sum, (_, part)| {
            sum.checked_add(*part)
                .ok_or(TemplateError::Overspend { value: template.coinbase_value })
        })?;
        let rest = template.coinbase_value.checked_sub(shared);
        let rest = rest.ok_or(TemplateError::Overspend { value: template.coinbase_value })?;
        let to = |script: &ScriptBuf, value: Amount| TxOut { value, script_pubkey: script.clone() };
        let mut outputs = vec![to(&self.pay_to, amount(rest))];
        outputs.extend(self.shared_with.iter().map(|(script, part)| to(script, amount(*part))));
        outputs.push(to(&commitment_script(&template.witness_commitment()), Amount::ZERO));
        outputs.extend(self.markers.iter().map(|script| to(script, Amount::ZERO)));
        Ok(outputs)
    }
}

/// The script of the output that holds the commitment.
pub(super) fn commitment_script(commitment: &[u8; 32]) -> ScriptBuf {
    let mut data = PushBytesBuf::new();
    // 36 bytes; a push holds up to 2^32.
    let _ = data.extend_from_slice(&COMMITMENT_HEADER);
    let _ = data.extend_from_slice(commitment);
    ScriptBuf::new_op_return(data)
}
