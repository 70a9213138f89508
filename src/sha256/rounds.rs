//! The 64 rounds of FIPS 180-4, section 6.2.2, written once for one lane and for many.
//!
//! The macro is used by every kernel but SHA-NI. What it calls (`add`, `splat`, `ch`, `maj`, the
//! four sigmas) is looked up where it is used, so that each kernel brings its own words: a `u32`,
//! eight of them, or sixteen.

/// The round constants (FIPS 180-4, section 4.2.2), a row for sixteen rounds.
pub(crate) const K: [[u32; 16]; 4] = [
    [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
    ],
    [
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
    ],
    [
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
    ],
    [
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
];

/// One round: the names rotate from call to call, so that nothing is moved.
macro_rules! round {
    ($w:expr, $k:expr;
     $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        $h = add(add($h, add($w, splat($k))), add(big_sigma1($e), ch($e, $f, $g)));
        $d = add($d, $h);
        $h = add($h, add(big_sigma0($a), maj($a, $b, $c)));
    };
}

/// Sixteen rounds with the words and constants of one row.
macro_rules! sixteen_rounds {
    ($w:ident, $k:ident;
     $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
        $crate::sha256::rounds::round!($w[0], $k[0]; $a $b $c $d $e $f $g $h);
        $crate::sha256::rounds::round!($w[1], $k[1]; $h $a $b $c $d $e $f $g);
        $crate::sha256::rounds::round!($w[2], $k[2]; $g $h $a $b $c $d $e $f);
        $crate::sha256::rounds::round!($w[3], $k[3]; $f $g $h $a $b $c $d $e);
        $crate::sha256::rounds::round!($w[4], $k[4]; $e $f $g $h $a $b $c $d);
        $crate::sha256::rounds::round!($w[5], $k[5]; $d $e $f $g $h $a $b $c);
        $crate::sha256::rounds::round!($w[6], $k[6]; $c $d $e $f $g $h $a $b);
        $crate::sha256::rounds::round!($w[7], $k[7]; $b $c $d $e $f $g $h $a);
        $crate::sha256::rounds::round!($w[8], $k[8]; $a $b $c $d $e $f $g $h);
        $crate::sha256::rounds::round!($w[9], $k[9]; $h $a $b $c $d $e $f $g);
        $crate::sha256::rounds::round!($w[10], $k[10]; $g $h $a $b $c $d $e $f);
        $crate::sha256::rounds::round!($w[11], $k[11]; $f $g $h $a $b $c $d $e);
        $crate::sha256::rounds::round!($w[12], $k[12]; $e $f $g $h $a $b $c $d);
        $crate::sha256::rounds::round!($w[13], $k[13]; $d $e $f $g $h $a $b $c);
        $crate::sha256::rounds::round!($w[14], $k[14]; $c $d $e $f $g $h $a $b);
        $crate::sha256::rounds::round!($w[15], $k[15]; $b $c $d $e $f $g $h $a);
    };
}

/// The next word of the message schedule, in place of the one sixteen before it.
macro_rules! next_word {
    ($w:ident; $i0:literal $i1:literal $i9:literal $i14:literal) => {
        $w[$i0] = add(add($w[$i0], small_sigma0($w[$i1])), add($w[$i9], small_sigma1($w[$i14])));
    };
}

/// The next sixteen words of the message schedule, in place.
macro_rules! next_words {
    ($w:ident) => {
        $crate::sha256::rounds::next_word!($w; 0 1 9 14);
        $crate::sha256::rounds::next_word!($w; 1 2 10 15);
        $crate::sha256::rounds::next_word!($w; 2 3 11 0);
        $crate::sha256::rounds::next_word!($w; 3 4 12 1);
        $crate::sha256::rounds::next_word!($w; 4 5 13 2);
        $crate::sha256::rounds::next_word!($w; 5 6 14 3);
        $crate::sha256::rounds::next_word!($w; 6 7 15 4);
        $crate::sha256::rounds::next_word!($w; 7 8 0 5);
        $crate::sha256::rounds::next_word!($w; 8 9 1 6);
        $crate::sha256::rounds::next_word!($w; 9 10 2 7);
        $crate::sha256::rounds::next_word!($w; 10 11 3 8);
        $crate::sha256::rounds::next_word!($w; 11 12 4 9);
        $crate::sha256::rounds::next_word!($w; 12 13 5 10);
        $crate::sha256::rounds::next_word!($w; 13 14 6 11);
        $crate::sha256::rounds::next_word!($w; 14 15 7 12);
        $crate::sha256::rounds::next_word!($w; 15 0 8 13);
    };
}

/// The state after one block: eight words and the sixteen words of the block to eight words.
macro_rules! compress {
    ($state:expr, $words:expr) => {{
        let [a0, b0, c0, d0, e0, f0, g0, h0] = $state;
        let [mut a, mut b, mut c, mut d] = [a0, b0, c0, d0];
        let [mut e, mut f, mut g, mut h] = [e0, f0, g0, h0];
        let mut w = $words;
        let [k0, k1, k2, k3] = &$crate::sha256::rounds::K;
        $crate::sha256::rounds::sixteen_rounds!(w, k0; a b c d e f g h);
        $crate::sha256::rounds::next_words!(w);
        $crate::sha256::rounds::sixteen_rounds!(w, k1; a b c d e f g h);
        $crate::sha256::rounds::next_words!(w);
        $crate::sha256::rounds::sixteen_rounds!(w, k2; a b c d e f g h);
        $crate::sha256::rounds::next_words!(w);
        $crate::sha256::rounds::sixteen_rounds!(w, k3; a b c d e f g h);
        [
            add(a0, a), add(b0, b), add(c0, c), add(d0, d),
            add(e0, e), add(f0, f), add(g0, g), add(h0, h),
        ]
    }};
}

pub(super) use {compress, next_word, next_words, round, sixteen_rounds};
