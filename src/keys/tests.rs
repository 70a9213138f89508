//! Unit tests of `keys`: one behaviour each, named for it.

use bitcoin::Network;
use bitcoin::secp256k1::Message;

use super::*;
use crate::units::KeyIndex;

fn index(number: u32) -> KeyIndex {
    KeyIndex::new(number).unwrap()
}

#[test]
fn payer_keys_differ_by_index_network_and_seed_and_repeat() {
    let context = Context::new();
    let public = |seed: u8, network, number| {
        Seed::new([seed; 32]).payer_key(&context, network, index(number)).unwrap().public()
    };
    let first = public(1, Network::Regtest, 0);
    assert_eq!(first, public(1, Network::Regtest, 0));
    assert_ne!(first, public(1, Network::Regtest, 1));
    assert_ne!(first, public(1, Network::Bitcoin, 0));
    assert_ne!(first, public(2, Network::Regtest, 0));
}

#[test]
fn derivation_of_version_one_is_frozen() {
    // A change of these bytes would lose every seed in the field.
    let context = Context::new();
    let seed = Seed::new([7; 32]);
    let payer = seed.payer_key(&context, Network::Bitcoin, index(3)).unwrap().public();
    let base = seed.base_key(&context, Network::Bitcoin).unwrap().public();
    assert_eq!(
        [payer.to_string(), base.to_string()],
        [
            "a4a0df78897a00d9a94760b8bbee83c4b28ad8e31b0a461cdff43de385e3ff8a",
            "29af0e7750ee337cfb454fab21ef1420ae9bd5db994b947fd5fcd8676aa416af",
        ]
    );
}

#[test]
fn payee_pair_has_the_key_that_the_payer_computes() {
    let context = Context::new();
    let payer = Seed::new([1; 32]).payer_key(&context, Network::Regtest, index(0)).unwrap();
    let base = Seed::new([2; 32]).base_key(&context, Network::Regtest).unwrap();
    let pair = base.for_payer(&context, payer.public()).unwrap();
    assert_eq!(pair.public(), payee_key(&context, base.public(), payer.public()).unwrap());

    let signature = pair.sign(&context, [9; 32], &Entropy::new([0; 32]));
    let message = Message::from_digest([9; 32]);
    context.secp().verify_schnorr(&signature, &message, &pair.public()).unwrap();
}

#[test]
fn secret_of_zero_or_of_the_group_order_is_refused() {
    let context = Context::new();
    let order = bitcoin::secp256k1::constants::CURVE_ORDER;
    for bytes in [[0; 32], order] {
        assert_eq!(ChannelKey::from_secret(&context, &bytes).err(), Some(KeyError::NotASecret));
    }
}
