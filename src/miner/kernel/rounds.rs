//! Double SHA-256 of a header with everything left out that is known beforehand.
//!
//! The second block of a header is four words of it, of which only the nonce changes, and padding;
//! the block of the second hash is eight words and padding. So the first rounds, a third of each
//! message schedule and the last three rounds need not be computed for each nonce. The macros call
//! what is in scope where they are used (`add`, `splat`, `ch`, `maj`, the four sigmas), so that one
//! text is the kernel of plain integers, of eight lanes and of sixteen.

use crate::sha256::State;
use crate::sha256::portable::{add, big_sigma0, big_sigma1, ch, maj, small_sigma0};
use crate::sha256::rounds::K;

/// The bit after the last of a message.
pub(super) const END: u32 = 0x8000_0000;
/// Bits of a header.
pub(super) const HEADER_BITS: u32 = 640;
/// Bits of a hash.
pub(super) const HASH_BITS: u32 = 256;

const K0: [u32; 16] = K[0];

/// Words 4 to 15 of a header's second block, each with its round's constant.
pub(super) const HEADER_PADDING: [u32; 12] = [
    add(END, K0[4]),
    K0[5],
    K0[6],
    K0[7],
    K0[8],
    K0[9],
    K0[10],
    K0[11],
    K0[12],
    K0[13],
    K0[14],
    add(HEADER_BITS, K0[15]),
];

/// Words 8 to 15 of the second hash's block, each with its round's constant.
pub(super) const HASH_PADDING: [u32; 8] =
    [add(END, K0[8]), K0[9], K0[10], K0[11], K0[12], K0[13], K0[14], add(HASH_BITS, K0[15])];

/// Where every hash begins.
pub(super) const INITIAL: [u32; 8] = State::INITIAL.words();

/// What the first round of the second hash makes of `a` and `e` but for its word.
pub(super) const SECOND_A: u32 =
    add(add(SECOND_T, big_sigma0(INITIAL[0])), maj(INITIAL[0], INITIAL[1], INITIAL[2]));
/// See [`SECOND_A`].
pub(super) const SECOND_E: u32 = add(SECOND_T, INITIAL[3]);
const SECOND_T: u32 = add(
    add(INITIAL[7], K0[0]),
    add(big_sigma1(INITIAL[4]), ch(INITIAL[4], INITIAL[5], INITIAL[6])),
);

/// What the lengths give to the words 30 of both schedules.
pub(super) const HEADER_30: u32 = small_sigma0(HEADER_BITS);
/// See [`HEADER_30`].
pub(super) const HASH_30: u32 = small_sigma0(HASH_BITS);
/// What the length gives to word 17 of the second schedule.
pub(super) const HASH_17: u32 = crate::sha256::portable::small_sigma1(HASH_BITS);
/// What the end of the message gives to word 23 of the second schedule.
pub(super) const HASH_23: u32 = small_sigma0(END);

/// One round; `$word`: its word and constant in one sum. The names rotate from call to call.
macro_rules! round {
    ($word:expr;
     $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        $h = add(add($h, $word), add(big_sigma1($e), ch($e, $f, $g)));
        $d = add($d, $h);
        $h = add($h, add(big_sigma0($a), maj($a, $b, $c)));
    };
}

/// One of the last rounds, of which only `e` is wanted.
macro_rules! last_round {
    ($word:expr; $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        $d = add(add(add($d, $h), $word), add(big_sigma1($e), ch($e, $f, $g)));
    };
}

/// Eight rounds; the macro `$word` gives the words of these numbers.
macro_rules! eight {
    ($word:ident $from:tt;
     $n0:tt $n1:tt $n2:tt $n3:tt $n4:tt $n5:tt $n6:tt $n7:tt;
     $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        $crate::miner::kernel::rounds::round!($word!($n0 $from); $a $b $c $d $e $f $g $h);
        $crate::miner::kernel::rounds::round!($word!($n1 $from); $h $a $b $c $d $e $f $g);
        $crate::miner::kernel::rounds::round!($word!($n2 $from); $g $h $a $b $c $d $e $f);
        $crate::miner::kernel::rounds::round!($word!($n3 $from); $f $g $h $a $b $c $d $e);
        $crate::miner::kernel::rounds::round!($word!($n4 $from); $e $f $g $h $a $b $c $d);
        $crate::miner::kernel::rounds::round!($word!($n5 $from); $d $e $f $g $h $a $b $c);
        $crate::miner::kernel::rounds::round!($word!($n6 $from); $c $d $e $f $g $h $a $b);
        $crate::miner::kernel::rounds::round!($word!($n7 $from); $b $c $d $e $f $g $h $a);
    };
}

/// Sixteen rounds of one row of constants.
macro_rules! sixteen {
    ($word:ident $from:tt; $($name:ident)+) => {
        $crate::miner::kernel::rounds::eight!($word $from; 0 1 2 3 4 5 6 7; $($name)+);
        $crate::miner::kernel::rounds::eight!($word $from; 8 9 10 11 12 13 14 15; $($name)+);
    };
}

/// A word that is the same for all nonces, with its constant.
macro_rules! fixed {
    ($n:tt [$table:ident]) => {
        splat($table[$n])
    };
}

/// A word that is in the block, and its constant.
macro_rules! given {
    ($n:tt [$w:ident $k:ident]) => {
        add($w[$n], splat($k[$n]))
    };
}

/// The word sixteen places on, in place, and its constant.
macro_rules! next {
    (@ $w:ident $k:ident $at:tt; $i0:tt $i1:tt $i9:tt $i14:tt) => {{
        $w[$i0] = add(add($w[$i0], small_sigma0($w[$i1])), add($w[$i9], small_sigma1($w[$i14])));
        add($w[$i0], splat($k[$at]))
    }};
    (0 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 0; 0 1 9 14) };
    (1 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 1; 1 2 10 15) };
    (2 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 2; 2 3 11 0) };
    (3 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 3; 3 4 12 1) };
    (4 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 4; 4 5 13 2) };
    (5 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 5; 5 6 14 3) };
    (6 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 6; 6 7 15 4) };
    (7 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 7; 7 8 0 5) };
    (8 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 8; 8 9 1 6) };
    (9 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 9; 9 10 2 7) };
    (10 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 10; 10 11 3 8) };
    (11 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 11; 11 12 4 9) };
    (12 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 12; 12 13 5 10) };
    (13 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 13; 13 14 6 11) };
    (14 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 14; 14 15 7 12) };
    (15 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 15; 15 0 8 13) };
}

/// The last eight of sixteen words, sixteen places on, and the constants of their rounds alone.
macro_rules! upper {
    (0 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 0; 8 9 1 6) };
    (1 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 1; 9 10 2 7) };
    (2 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 2; 10 11 3 8) };
    (3 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 3; 11 12 4 9) };
    (4 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 4; 12 13 5 10) };
    (5 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 5; 13 14 6 11) };
    (6 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 6; 14 15 7 12) };
    (7 [$w:ident $k:ident]) => { $crate::miner::kernel::rounds::next!(@ $w $k 7; 15 0 8 13) };
}

/// Words 16 to 31 of a header's second block, and their constants; `$p`: its `Words`, `$w3`: the
/// nonce.
macro_rules! header {
    (@ $w:ident $n:tt $value:expr) => {{
        $w[$n] = $value;
        add($w[$n], splat($crate::sha256::rounds::K[1][$n]))
    }};
    (0 [$w:ident $p:ident $w3:ident]) => { splat($p.w16_k) };
    (1 [$w:ident $p:ident $w3:ident]) => { splat($p.w17_k) };
    (2 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 2 add(splat($p.w18), small_sigma0($w3)))
    };
    (3 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 3 add(splat($p.w19), $w3))
    };
    (4 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 4
            add(splat($crate::miner::kernel::rounds::END), small_sigma1($w[2])))
    };
    (5 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 5 small_sigma1($w[3]))
    };
    (6 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 6
            add(splat($crate::miner::kernel::rounds::HEADER_BITS), small_sigma1($w[4])))
    };
    (7 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 7 add(splat($p.w16), small_sigma1($w[5])))
    };
    (8 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 8 add(splat($p.w17), small_sigma1($w[6])))
    };
    (9 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 9 add($w[2], small_sigma1($w[7])))
    };
    (10 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 10 add($w[3], small_sigma1($w[8])))
    };
    (11 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 11 add($w[4], small_sigma1($w[9])))
    };
    (12 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 12 add($w[5], small_sigma1($w[10])))
    };
    (13 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 13 add($w[6], small_sigma1($w[11])))
    };
    (14 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 14
            add(splat($crate::miner::kernel::rounds::HEADER_30), add($w[7], small_sigma1($w[12]))))
    };
    (15 [$w:ident $p:ident $w3:ident]) => {
        $crate::miner::kernel::rounds::header!(@ $w 15
            add(splat($p.w31), add($w[8], small_sigma1($w[13]))))
    };
}

/// Words 16 to 31 of the second hash's block, and their constants.
macro_rules! hash {
    (@ $w:ident $n:tt $value:expr) => {{
        $w[$n] = $value;
        add($w[$n], splat($crate::sha256::rounds::K[1][$n]))
    }};
    (0 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 0 add($w[0], small_sigma0($w[1])))
    };
    (1 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 1
            add(splat($crate::miner::kernel::rounds::HASH_17), add($w[1], small_sigma0($w[2]))))
    };
    (2 [$w:ident]) => { $crate::miner::kernel::rounds::hash!(@@ $w 2 3 0) };
    (3 [$w:ident]) => { $crate::miner::kernel::rounds::hash!(@@ $w 3 4 1) };
    (4 [$w:ident]) => { $crate::miner::kernel::rounds::hash!(@@ $w 4 5 2) };
    (5 [$w:ident]) => { $crate::miner::kernel::rounds::hash!(@@ $w 5 6 3) };
    (@@ $w:ident $i0:tt $i1:tt $i14:tt) => {
        $crate::miner::kernel::rounds::hash!(@ $w $i0
            add(add($w[$i0], small_sigma0($w[$i1])), small_sigma1($w[$i14])))
    };
    (6 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 6
            add(add(splat($crate::miner::kernel::rounds::HASH_BITS), $w[6]),
                add(small_sigma0($w[7]), small_sigma1($w[4]))))
    };
    (7 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 7
            add(add(splat($crate::miner::kernel::rounds::HASH_23), $w[7]),
                add($w[0], small_sigma1($w[5]))))
    };
    (8 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 8
            add(splat($crate::miner::kernel::rounds::END), add($w[1], small_sigma1($w[6]))))
    };
    (9 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 9 add($w[2], small_sigma1($w[7])))
    };
    (10 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 10 add($w[3], small_sigma1($w[8])))
    };
    (11 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 11 add($w[4], small_sigma1($w[9])))
    };
    (12 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 12 add($w[5], small_sigma1($w[10])))
    };
    (13 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 13 add($w[6], small_sigma1($w[11])))
    };
    (14 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 14
            add(splat($crate::miner::kernel::rounds::HASH_30), add($w[7], small_sigma1($w[12]))))
    };
    (15 [$w:ident]) => {
        $crate::miner::kernel::rounds::hash!(@ $w 15
            add(add(splat($crate::miner::kernel::rounds::HASH_BITS), small_sigma0($w[0])),
                add($w[8], small_sigma1($w[13]))))
    };
}

/// Rounds 4 to 15 of the first hash, whose words are padding: `Start` and the nonce to a state.
macro_rules! began {
    ($start:ident, $nonce:ident) => {{
        let [mut f, mut g, mut h] = $start.abc.map(|word| splat(word));
        let [mut b, mut c, mut d] = $start.efg.map(|word| splat(word));
        let (mut e, mut a) = (add(splat($start.a), $nonce), add(splat($start.e), $nonce));
        let padding = &$crate::miner::kernel::rounds::HEADER_PADDING;
        {
            use $crate::miner::kernel::rounds::{eight, fixed, round};
            eight!(fixed [padding]; 0 1 2 3 4 5 6 7; e f g h a b c d);
            round!(fixed!(8 [padding]); e f g h a b c d);
            round!(fixed!(9 [padding]); d e f g h a b c);
            round!(fixed!(10 [padding]); c d e f g h a b);
            round!(fixed!(11 [padding]); b c d e f g h a);
        }
        [a, b, c, d, e, f, g, h]
    }};
}

/// The sums of a hash: what the rounds have made, and the state before them.
macro_rules! ended {
    ($start:ident, $state:expr, $w:ident) => {
        let [a, b, c, d, e, f, g, h] = $state;
        let [ma, mb, mc, md, me, mf, mg, mh] = kept(&$start.midstate).map(|word| splat(word));
        ($w[0], $w[1], $w[2], $w[3]) = (add(ma, a), add(mb, b), add(mc, c), add(md, d));
        ($w[4], $w[5], $w[6], $w[7]) = (add(me, e), add(mf, f), add(mg, g), add(mh, h));
    };
}

/// The first hash: `Start` and `Words` of a header, and the nonce as a word, to the first eight of
/// the words `$w`; `$state` is room for a state, `$more` a function of [`rolled`] or [`unrolled`].
macro_rules! first {
    ($start:ident, $words:ident, $nonce:ident, $w:ident, $state:ident, $more:ident) => {
        use $crate::miner::kernel::rounds::{began, ended, header, sixteen};
        let (rows, _) = $crate::sha256::rounds::K.as_flattened().as_chunks();
        ($w[0], $w[1]) = (splat($words.w16), splat($words.w17));
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = began!($start, $nonce);
        sixteen!(header [$w $words $nonce]; a b c d e f g h);
        $state = [a, b, c, d, e, f, g, h];
        $more(&mut $state, &mut $w, rows.get(4..).unwrap_or_default());
        ended!($start, $state, $w);
    };
}

/// Words 16 to 63 of a header's second block with their constants, in rows of sixteen: the same for
/// all versions, because the version is in the first block.
#[cfg(target_arch = "x86_64")]
macro_rules! schedule {
    ($words:ident, $nonce:ident) => {{
        use $crate::miner::kernel::rounds::{header, next, row};
        let [_, _, k2, k3] = &$crate::sha256::rounds::K;
        let mut w = [splat(0); 16];
        (w[0], w[1]) = (splat($words.w16), splat($words.w17));
        let second = row!(header [w $words $nonce]);
        let third = row!(next [w k2]);
        [second, third, row!(next [w k3])]
    }};
}

/// Sixteen words by the macro `$word`.
#[cfg(target_arch = "x86_64")]
macro_rules! row {
    ($word:ident $from:tt) => {
        [
            $word!(0 $from), $word!(1 $from), $word!(2 $from), $word!(3 $from),
            $word!(4 $from), $word!(5 $from), $word!(6 $from), $word!(7 $from),
            $word!(8 $from), $word!(9 $from), $word!(10 $from), $word!(11 $from),
            $word!(12 $from), $word!(13 $from), $word!(14 $from), $word!(15 $from),
        ]
    };
}

/// A word of a [`schedule`], which has its constant.
#[cfg(target_arch = "x86_64")]
macro_rules! stored {
    ($n:tt [$row:ident]) => {
        $row[$n]
    };
}

/// The first hash with the words of a [`schedule`].
#[cfg(target_arch = "x86_64")]
macro_rules! first_of {
    ($start:ident, $schedule:ident, $nonce:ident, $w:ident) => {
        use $crate::miner::kernel::rounds::{began, ended, sixteen, stored};
        let [second, third, fourth] = &$schedule;
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = began!($start, $nonce);
        sixteen!(stored [second]; a b c d e f g h);
        sixteen!(stored [third]; a b c d e f g h);
        sixteen!(stored [fourth]; a b c d e f g h);
        ended!($start, [a, b, c, d, e, f, g, h], $w);
    };
}

/// The last word of the second hash, which is the first to be compared with a target: its bytes
/// reversed are the highest of the number. The first eight words of `$w` to one; the rest of its
/// parameters: see [`first`].
///
/// `$row`: [`hash_row`] leaves out of words 16 to 31 what is made of padding; [`any_row`] computes
/// them as later ones, a tenth slower and in a quarter less code.
macro_rules! second {
    ($w:ident, $state:ident, $row:ident, $more:ident) => {{
        use $crate::miner::kernel::rounds::{
            $row, INITIAL, SECOND_A, SECOND_E, eight, fixed, given, last_round,
            next, round,
        };
        let [i0, i1, i2, _, i4, i5, i6, i7] = INITIAL;
        let (mut b, mut c, mut d) = (splat(i0), splat(i1), splat(i2));
        let (mut f, mut g, mut h) = (splat(i4), splat(i5), splat(i6));
        let (mut a, mut e) = (add(splat(SECOND_A), $w[0]), add(splat(SECOND_E), $w[0]));
        let padding = &$crate::miner::kernel::rounds::HASH_PADDING;
        let [k0, _, _, k3] = &$crate::sha256::rounds::K;
        round!(given!(1 [$w k0]); a b c d e f g h);
        round!(given!(2 [$w k0]); h a b c d e f g);
        round!(given!(3 [$w k0]); g h a b c d e f);
        round!(given!(4 [$w k0]); f g h a b c d e);
        round!(given!(5 [$w k0]); e f g h a b c d);
        round!(given!(6 [$w k0]); d e f g h a b c);
        round!(given!(7 [$w k0]); c d e f g h a b);
        eight!(fixed [padding]; 0 1 2 3 4 5 6 7; b c d e f g h a);
        $state = [b, c, d, e, f, g, h, a];
        $row!($state, $w, $more);
        let [mut b, mut c, mut d, mut e, f, g, h, mut a] = $state;
        round!(next!(8 [$w k3]); b c d e f g h a);
        last_round!(next!(9 [$w k3]); d e f g h);
        last_round!(next!(10 [$w k3]); c d e f g);
        last_round!(next!(11 [$w k3]); b c d e f);
        last_round!(next!(12 [$w k3]); a b c d e);
        add(splat(i7), a)
    }};
}

/// The padding of the second hash's block.
macro_rules! padded {
    ($w:ident, $zero:expr) => {
        use $crate::miner::kernel::rounds::{END, HASH_BITS};
        let zero = $zero;
        ($w[8], $w[9], $w[10], $w[11]) = (splat(END), zero, zero, zero);
        ($w[12], $w[13], $w[14], $w[15]) = (zero, zero, zero, splat(HASH_BITS));
    };
}

/// Rounds 16 to 55 of the second hash, with what is made of padding left out.
macro_rules! hash_row {
    ($state:ident, $w:ident, $more:ident) => {
        use $crate::miner::kernel::rounds::{hash, padded, sixteen};
        padded!($w, splat(0));
        let [mut b, mut c, mut d, mut e, mut f, mut g, mut h, mut a] = $state;
        sixteen!(hash [$w]; b c d e f g h a);
        $state = [b, c, d, e, f, g, h, a];
        let (rows, _) = $crate::sha256::rounds::K.as_flattened().as_chunks();
        $more(&mut $state, &mut $w, rows.get(4..7).unwrap_or_default());
    };
}

/// Rounds 16 to 55 of the second hash.
macro_rules! any_row {
    ($state:ident, $w:ident, $more:ident) => {
        use $crate::miner::kernel::rounds::padded;
        padded!($w, kept(splat(0)));
        let (rows, _) = $crate::sha256::rounds::K.as_flattened().as_chunks();
        $more(&mut $state, &mut $w, rows.get(2..7).unwrap_or_default());
    };
}

/// The function that [`first`] and [`second`] want, of vectors of the type `$vector`: the rounds of
/// these constants, eight in a row, whose words come of the sixteen before.
///
/// Sixteen rounds, run over and over: for a kernel that would not fit the flash otherwise.
macro_rules! rolled {
    ($(#[$attribute:meta])* $vector:ty) => {
        $(#[$attribute])*
        #[inline(never)]
        fn more(state: &mut [$vector; 8], w: &mut [$vector; 16], rows: &[[u32; 8]]) {
            use $crate::miner::kernel::rounds::{eight, next, upper};
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            let mut rows = rows.iter();
            while let Some(k) = rows.next() {
                let w = kept(&mut *w);
                eight!(next [w k]; 0 1 2 3 4 5 6 7; a b c d e f g h);
                let Some(k) = rows.next() else { break };
                let w = kept(&mut *w);
                eight!(upper [w k]; 0 1 2 3 4 5 6 7; a b c d e f g h);
            }
            *state = [a, b, c, d, e, f, g, h];
        }
    };
}

/// The same for four or five rows, where it is used.
macro_rules! unrolled {
    ($(#[$attribute:meta])* $vector:ty) => {
        $(#[$attribute])*
        #[inline]
        fn more(state: &mut [$vector; 8], w: &mut [$vector; 16], rows: &[[u32; 8]]) {
            use $crate::miner::kernel::rounds::{eight, next, upper};
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            if let [k4, k5, k6, k7 @ ..] = rows {
                eight!(next [w k4]; 0 1 2 3 4 5 6 7; a b c d e f g h);
                eight!(upper [w k5]; 0 1 2 3 4 5 6 7; a b c d e f g h);
                eight!(next [w k6]; 0 1 2 3 4 5 6 7; a b c d e f g h);
                if let [k7] = k7 {
                    eight!(upper [w k7]; 0 1 2 3 4 5 6 7; a b c d e f g h);
                }
            }
            *state = [a, b, c, d, e, f, g, h];
        }
    };
}

pub(super) use {
    any_row, began, eight, ended, first, fixed, given, hash, hash_row, header, last_round, next,
    padded, rolled, round, second, sixteen, unrolled, upper,
};
#[cfg(target_arch = "x86_64")]
pub(super) use {first_of, row, schedule, stored};
