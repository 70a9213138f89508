//! Vectors of the hash and of the tree: NIST's, on every kernel, and our own for a second
//! implementation of `merkle`.
//!
//! `MILLSTREAM_VECTORS=DIR` reads files of the same names and format from DIR instead; one that is
//! not there is printed as absent. A file without cases fails, and so does a DIR without files.

mod vector_support;

use hex::FromHex;
use millstream::merkle::{Builder, Child, Proof, Root, Shape};
use millstream::sha256::{Engine, Kernel, State, Tail};
use millstream::units::Msat;
use serde_json::Value;
use vector_support::{directory, each_case};

const FILES: [&str; 2] = ["sha256_short", "merkle_v1"];

fn bytes(value: &Value) -> Vec<u8> {
    Vec::from_hex(value.as_str().unwrap()).unwrap()
}

fn hash(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

fn msat(value: &Value) -> Msat {
    Msat::new(value.as_u64().unwrap()).unwrap()
}

fn small<T: TryFrom<u64, Error: std::fmt::Debug>>(value: &Value) -> T {
    value.as_u64().unwrap().try_into().unwrap()
}

#[test]
fn a_directory_without_files_fails() {
    let (dir, _) = directory();
    let there = FILES.iter().filter(|file| dir.join(file).with_extension("json").exists()).count();
    assert!(there > 0, "{} has none of {FILES:?}", dir.display());
}

#[test]
fn sha256_gives_the_hash_on_every_kernel() {
    let engines: Vec<_> = Kernel::ALL.into_iter().filter_map(Engine::of).collect();
    println!("kernels: {:?}", engines.iter().map(|engine| engine.kernel()).collect::<Vec<_>>());
    each_case("sha256_short", |case| {
        let (message, want) = (bytes(&case["message"]), hash(&case["hash"]));
        let (full, rest) = message.as_chunks::<64>();
        let tail = Tail::new(message.len() as u64, rest);
        let blocks = [full, tail.blocks()].concat();
        let each = blocks.len().try_into().unwrap();
        for engine in &engines {
            // 17: more than a group of the widest kernel.
            for lanes in [1, 17] {
                let mut states = vec![State::INITIAL; lanes];
                engine.absorb(&mut states, &blocks.repeat(lanes), each);
                let all = states.iter().all(|state| state.to_bytes() == want);
                assert!(all, "{:?}, {lanes} lanes, {case}", engine.kernel());
            }
        }
    });
}

#[test]
fn merkle_gives_root_and_paths() {
    each_case("merkle_v1", |case| {
        let shape = Shape::new(small(&case["items"]), small(&case["leaf_size"])).unwrap();
        let want = Root { hash: hash(&case["root"]), total: msat(&case["total"]), shape };
        let leaves: Vec<(Vec<u8>, Msat)> = case["leaves"]
            .as_array()
            .unwrap()
            .iter()
            .map(|leaf| (bytes(&leaf[0]), msat(&leaf[1])))
            .collect();
        let mut builder = Builder::default();
        for (message, sum) in &leaves {
            builder.push(message, *sum).unwrap();
        }
        assert_eq!(builder.take_root(shape), Ok(want));
        for proof in case["proofs"].as_array().unwrap() {
            let index: u32 = small(&proof["leaf"]);
            let steps = proof["path"]
                .as_array()
                .unwrap()
                .iter()
                .map(|step| Child { hash: hash(&step[0]), sum: msat(&step[1]) })
                .collect();
            let read = Proof::new(shape, index, steps).unwrap();
            let (message, sum) = &leaves[index as usize];
            assert_eq!(read.verify(&want, message, *sum), Ok(()));
            let mut builder = Builder::proving(index);
            for (message, sum) in &leaves {
                builder.push(message, *sum).unwrap();
            }
            assert_eq!(builder.take_proof(shape), Ok((want, read)));
        }
    });
}
