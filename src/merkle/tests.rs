//! The tree beside a naive recursive one, every proof of small trees, and every limit's two sides.

use alloc::vec::Vec;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use proptest::prelude::*;

use super::*;
use crate::sha256::Kernel;

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

/// The tagged hash by another implementation, of concatenated parts.
fn tagged(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let half = sha256::Hash::hash(tag.as_bytes());
    let mut engine = sha256::Hash::engine();
    engine.input(half.as_byte_array());
    engine.input(half.as_byte_array());
    for part in parts {
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// The hash and sum above these leaves (message and sum each), top down: the left part is the
/// largest power of two that leaves something for the right one, which is what promoting odd nodes
/// comes to.
fn naive_top(leaves: &[(Vec<u8>, u64)]) -> ([u8; 32], u64) {
    if let [(message, sum)] = leaves {
        return (tagged("millstream/merkle/leaf", &[message]), *sum);
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let ((left, left_sum), (right, right_sum)) = (naive_top(left), naive_top(right));
    let parts: [&[u8]; 4] = [&left, &left_sum.to_be_bytes(), &right, &right_sum.to_be_bytes()];
    (tagged("millstream/merkle/node", &parts), left_sum + right_sum)
}

fn naive_root(leaves: &[(Vec<u8>, u64)], shape: Shape) -> Root {
    let (top, total) = naive_top(leaves);
    let (items, size) = (shape.items().to_be_bytes(), [shape.leaf_size()]);
    let hash = tagged("millstream/merkle/root", &[&top, &total.to_be_bytes(), &items, &size]);
    Root { hash, total: msat(total), shape }
}

fn leaves(count: usize) -> Vec<(Vec<u8>, u64)> {
    (0..count).map(|i| (i.to_le_bytes().repeat(1 + i % 3), (i as u64 * 7) % 11)).collect()
}

fn shape(leaves: usize) -> Shape {
    Shape::new(u32::try_from(leaves).unwrap(), 1).unwrap()
}

fn push_all(builder: &mut Builder, leaves: &[(Vec<u8>, u64)]) {
    for (message, sum) in leaves {
        builder.push(message, msat(*sum)).unwrap();
    }
}

fn built(leaves: &[(Vec<u8>, u64)], shape: Shape) -> Root {
    let mut builder = Builder::default();
    push_all(&mut builder, leaves);
    builder.take_root(shape).unwrap()
}

fn proved(leaves: &[(Vec<u8>, u64)], index: usize) -> (Root, Proof) {
    let mut builder = Builder::proving(u32::try_from(index).unwrap());
    push_all(&mut builder, leaves);
    builder.take_proof(shape(leaves.len())).unwrap()
}

#[test]
fn root_is_the_naive_one_for_every_small_count_and_around_each_group() {
    let counts = (1..=140).chain([255, 256, 257, 511, 512, 513, 1_023, 1_024, 1_025, 4_097]);
    for count in counts {
        let leaves = leaves(count);
        assert_eq!(built(&leaves, shape(count)), naive_root(&leaves, shape(count)), "{count}");
    }
}

#[test]
fn root_is_the_same_by_every_kernel() {
    let leaves = leaves(333);
    let want = naive_root(&leaves, shape(333));
    let mut kernels = 0;
    for engine in Kernel::ALL.into_iter().filter_map(Engine::of) {
        let mut builder = Builder::new(engine);
        // Twice: an emptied builder is a new one.
        for _ in 0..2 {
            push_all(&mut builder, &leaves);
            assert_eq!(builder.take_root(shape(333)), Ok(want), "{:?}", engine.kernel());
            assert_eq!((builder.leaves(), builder.total()), (0, Msat::ZERO));
        }
        kernels += 1;
    }
    println!("{kernels} kernels");
}

#[test]
fn proof_of_every_index_of_small_trees_holds_for_that_leaf_only() {
    let mut proofs = 0;
    for count in 1..=70 {
        let leaves = leaves(count);
        let want = naive_root(&leaves, shape(count));
        for index in 0..count {
            let (root, proof) = proved(&leaves, index);
            assert_eq!(root, want);
            let (message, sum) = &leaves[index];
            assert_eq!(proof.verify(&want, message, msat(*sum)), Ok(()), "{index} of {count}");
            assert_eq!(proof.root(message, msat(*sum)), Ok(want));
            assert_eq!(proof.steps().len(), shape(count).steps(proof.index()));
            assert!(proof.verify(&want, message, msat(sum + 1)).is_err());
            assert!(proof.verify(&want, &[&message[..], &[0]].concat(), msat(*sum)).is_err());
            for other in (0..count).filter(|other| *other != index) {
                let (message, sum) = &leaves[other];
                assert!(proof.verify(&want, message, msat(*sum)).is_err());
            }
            proofs += 1;
        }
    }
    println!("{proofs} proofs");
}

/// Every bit of index, path and root; a copy that still is a proof must be the proof itself.
#[test]
fn proof_with_any_bit_changed_is_refused() {
    let mut flips = 0;
    for (count, index) in [(1, 0), (2, 1), (3, 2), (5, 4), (7, 2), (33, 32), (70, 69), (70, 13)] {
        let leaves = leaves(count);
        let (root, proof) = proved(&leaves, index);
        let (message, sum) = (&leaves[index].0, msat(leaves[index].1));
        let refused = |root: &Root, proof: Result<Proof, MerkleError>| {
            proof.and_then(|proof| proof.verify(root, message, sum)).is_err()
        };
        for bit in 0..32 {
            let changed =
                Proof::new(proof.shape(), proof.index() ^ (1 << bit), proof.steps().to_vec());
            assert!(refused(&root, changed), "index bit {bit}");
        }
        for step in 0..proof.steps().len() {
            for bit in 0..320 {
                let mut steps = proof.steps().to_vec();
                if bit < 256 {
                    steps[step].hash[bit / 8] ^= 1 << (bit % 8);
                } else if let Ok(sum) = Msat::new(steps[step].sum.to_msat() ^ (1 << (bit - 256))) {
                    steps[step].sum = sum;
                } else {
                    continue;
                }
                let changed = Proof::new(proof.shape(), proof.index(), steps);
                assert!(refused(&root, changed), "step {step} bit {bit}");
                flips += 1;
            }
        }
        for bit in 0..256 {
            let mut root = root;
            root.hash[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&root, Ok(proof.clone())), "root bit {bit}");
        }
    }
    println!("{flips} changed paths refused");
    assert!(flips > 0);
}

/// Two steps that move an amount from one sum to another leave the total, but not the hash.
#[test]
fn proof_with_sums_moved_between_steps_is_refused() {
    let leaves = leaves(70);
    let (root, proof) = proved(&leaves, 13);
    let mut steps = proof.steps().to_vec();
    steps[2].sum = steps[2].sum.add(msat(1)).unwrap();
    steps[3].sum = steps[3].sum.sub(msat(1)).unwrap();
    let proof = Proof::new(proof.shape(), 13, steps).unwrap();
    let (message, sum) = &leaves[13];
    assert_eq!(proof.verify(&root, message, msat(*sum)), Err(MerkleError::NotUnderRoot));
}

#[test]
fn proof_whose_sums_overflow_is_refused() {
    let leaves = leaves(4);
    let (root, proof) = proved(&leaves, 2);
    let mut steps = proof.steps().to_vec();
    steps[1].sum = Msat::MAX;
    let proof = Proof::new(proof.shape(), 2, steps).unwrap();
    let result = proof.verify(&root, &leaves[2].0, msat(1));
    assert!(matches!(result, Err(MerkleError::Overflow(_))), "{result:?}");
}

#[test]
fn proof_of_another_length_index_or_shape_is_refused() {
    let leaves = leaves(5);
    let (root, proof) = proved(&leaves, 3);
    let steps = proof.steps();
    let longer = [steps, &steps[..1]].concat();
    let new = |index, steps| Proof::new(shape(5), index, steps);
    assert_eq!(new(3, longer), Err(MerkleError::Steps { got: 4, want: 3 }));
    assert_eq!(new(3, steps[1..].to_vec()), Err(MerkleError::Steps { got: 2, want: 3 }));
    // The odd fifth leaf goes up twice, and has one step.
    assert_eq!(new(4, steps.to_vec()), Err(MerkleError::Steps { got: 3, want: 1 }));
    assert_eq!(new(5, steps.to_vec()), Err(MerkleError::NoSuchLeaf { index: 5, leaves: 5 }));
    let other = Root { shape: Shape::new(10, 2).unwrap(), ..root };
    let (message, sum) = &leaves[3];
    assert_eq!(
        proof.verify(&other, message, msat(*sum)),
        Err(MerkleError::Shape { got: shape(5), want: other.shape })
    );
    let other = Root { total: root.total.add(msat(1)).unwrap(), ..root };
    assert_eq!(
        proof.verify(&other, message, msat(*sum)),
        Err(MerkleError::Total { got: root.total, want: other.total })
    );
}

/// A node's message is not a leaf: what is above two leaves cannot be shown as one.
#[test]
fn node_shown_as_a_leaf_has_another_root() {
    let two = leaves(2);
    let hash = |leaf: &(Vec<u8>, u64)| tagged("millstream/merkle/leaf", &[&leaf.0]);
    let sums = two.iter().map(|(_, sum)| sum.to_be_bytes()).collect::<Vec<_>>();
    let message = [&hash(&two[0])[..], &sums[0], &hash(&two[1]), &sums[1]].concat();
    let total = two[0].1 + two[1].1;
    let shape = Shape::new(2, 2).unwrap();
    assert_ne!(built(&[(message, total)], shape).hash, built(&two, self::shape(2)).hash);
}

#[test]
fn root_differs_by_count_leaf_size_total_and_order() {
    let three = leaves(3);
    let root = built(&three, Shape::new(3, 1).unwrap());
    // Three leaves of two are five or six items.
    let five = built(&three, Shape::new(5, 2).unwrap());
    let six = built(&three, Shape::new(6, 2).unwrap());
    // Nine items are three leaves by three and by four.
    let by_three = built(&three, Shape::new(9, 3).unwrap());
    let by_four = built(&three, Shape::new(9, 4).unwrap());
    let mut doubled = three.clone();
    doubled.push(three[2].clone());
    let doubled = built(&doubled, Shape::new(4, 1).unwrap());
    let swapped =
        built(&[three[1].clone(), three[0].clone(), three[2].clone()], Shape::new(3, 1).unwrap());
    let mut richer = three.clone();
    richer[2].1 += 1;
    let richer = built(&richer, Shape::new(3, 1).unwrap());
    let mut hashes: Vec<_> = [root, five, six, by_three, by_four, doubled, swapped, richer]
        .iter()
        .map(|root| root.hash)
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 8);
    // The sum of a lone leaf stands in no node, but in the root.
    let lone = |sum| built(&[(b"x".to_vec(), sum)], shape(1)).hash;
    assert_ne!(lone(1), lone(2));
}

#[test]
fn shape_takes_its_limits_and_nothing_beyond() {
    assert_eq!(Shape::new(0, 1), Err(MerkleError::Items { got: 0 }));
    assert!(Shape::new(1, 1).is_ok() && Shape::new(Shape::ITEMS_MAX, 64).is_ok());
    let above = Shape::ITEMS_MAX + 1;
    assert_eq!(Shape::new(above, 1), Err(MerkleError::Items { got: above }));
    assert_eq!(Shape::new(1, 0), Err(MerkleError::LeafSize { got: 0 }));
    assert_eq!(Shape::new(1, 65), Err(MerkleError::LeafSize { got: 65 }));
    let leaves = |items, size| Shape::new(items, size).unwrap().leaves();
    assert_eq!([leaves(16, 16), leaves(17, 16), leaves(1, 64)], [1, 2, 1]);
    assert_eq!(Shape::new(Shape::ITEMS_MAX, 1).unwrap().steps(0), 20);
}

#[test]
fn message_of_the_longest_length_is_a_leaf_and_longer_is_refused() {
    let mut builder = Builder::default();
    let longest = (vec![7; Builder::LEAF_BYTES_MAX], 3);
    push_all(&mut builder, core::slice::from_ref(&longest));
    let max = Builder::LEAF_BYTES_MAX;
    let error = builder.push(&vec![7; max + 1], msat(3));
    assert_eq!(error, Err(MerkleError::LeafBytes { got: max + 1, max }));
    assert_eq!((builder.leaves(), builder.total()), (1, msat(3)));
    assert_eq!(builder.take_root(shape(1)), Ok(naive_root(&[longest], shape(1))));
}

#[test]
fn sums_up_to_the_largest_amount_are_taken_and_above_refused() {
    let mut builder = Builder::default();
    let max = Msat::MAX.to_msat();
    push_all(&mut builder, &[(vec![1], max - 5), (vec![2], 5)]);
    let error = builder.push(&[3], msat(1));
    assert!(matches!(error, Err(MerkleError::Overflow(_))), "{error:?}");
    assert_eq!((builder.leaves(), builder.total()), (2, Msat::MAX));
    let want = naive_root(&[(vec![1], max - 5), (vec![2], 5)], shape(2));
    assert_eq!(builder.take_root(shape(2)), Ok(want));
}

#[test]
fn leaves_beyond_the_largest_tree_are_refused() {
    let mut builder = Builder::default();
    for _ in 0..Shape::ITEMS_MAX {
        builder.push(b"x", msat(1)).unwrap();
    }
    let max = Shape::ITEMS_MAX;
    assert_eq!(builder.push(b"x", msat(1)), Err(MerkleError::TooManyLeaves { max }));
    let root = builder.take_root(Shape::new(max, 1).unwrap()).unwrap();
    assert_eq!(root.total, msat(u64::from(max)));
}

#[test]
fn take_of_another_shape_is_refused_and_changes_nothing() {
    let leaves = leaves(3);
    let mut builder = Builder::proving(3);
    assert_eq!(builder.take_root(shape(1)), Err(MerkleError::Leaves { got: 0, want: 1 }));
    push_all(&mut builder, &leaves);
    assert_eq!(builder.take_root(shape(2)), Err(MerkleError::Leaves { got: 3, want: 2 }));
    assert_eq!(builder.take_root(shape(4)), Err(MerkleError::Leaves { got: 3, want: 4 }));
    let error = builder.take_proof(shape(3)).unwrap_err();
    assert_eq!(error, MerkleError::NoSuchLeaf { index: 3, leaves: 3 });
    assert_eq!(builder.take_root(shape(3)), Ok(naive_root(&leaves, shape(3))));
    let mut builder = Builder::default();
    push_all(&mut builder, &leaves);
    assert_eq!(builder.take_proof(shape(3)).unwrap_err(), MerkleError::NotProving);
    assert_eq!(builder.take_root(shape(3)), Ok(naive_root(&leaves, shape(3))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Messages on both sides of every padding limit, in any order, in trees of any size.
    #[test]
    fn random_trees_and_proofs_are_the_naive_ones(
        leaves in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..200), 0_u64..1 << 40), 1..200),
        pick in any::<proptest::sample::Index>(),
    ) {
        let index = pick.index(leaves.len());
        let want = naive_root(&leaves, shape(leaves.len()));
        let (root, proof) = proved(&leaves, index);
        prop_assert_eq!(root, want);
        prop_assert_eq!(built(&leaves, want.shape), want);
        let (message, sum) = &leaves[index];
        prop_assert_eq!(proof.verify(&want, message, msat(*sum)), Ok(()));
        let again = Proof::new(proof.shape(), proof.index(), proof.steps().to_vec());
        prop_assert_eq!(again, Ok(proof));
    }
}
