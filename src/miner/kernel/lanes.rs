//! The search of the kernels whose words are vectors: one text for eight lanes and for sixteen.

/// `search` of one header and `search_of` several versions of it, in groups of `$lanes` nonces.
///
/// They are compiled for what `$attribute` enables, and call what is in scope where the macro is
/// used: `nonces`, `reversed` and `at_most` beside what the rounds need.
macro_rules! searches {
    (#[$attribute:meta] $lanes:expr) => {
        #[$attribute]
        fn search(prepared: &Prepared, span: Span) -> Option<Group> {
            let Prepared { start, words, top } = prepared;
            let mut w = [splat(0); 16];
            let mut state;
            let mut at = 0_u32;
            while at < span.count {
                let nonce = nonces(span.nonce(at));
                first!(start, words, nonce, w, state, more);
                let tops = reversed(second!(w, state, hash_row, more));
                if let Some(group) = span.group(at, $lanes, [at_most(tops, splat(*top))]) {
                    return Some(group);
                }
                at = at.saturating_add($lanes);
            }
            None
        }

        #[$attribute]
        fn search_of<const N: usize>(
            starts: &[Start; N],
            words: &Words,
            top: u32,
            span: Span,
        ) -> Option<Group<N>> {
            let mut w = [splat(0); 16];
            let mut state;
            let mut at = 0_u32;
            while at < span.count {
                let nonce = nonces(span.nonce(at));
                let schedule = schedule!(words, nonce);
                let mut found = [0; N];
                for (found, start) in found.iter_mut().zip(starts) {
                    first_of!(start, schedule, nonce, w);
                    let tops = reversed(second!(w, state, hash_row, more));
                    *found = at_most(tops, splat(top));
                }
                if let Some(group) = span.group(at, $lanes, found) {
                    return Some(group);
                }
                at = at.saturating_add($lanes);
            }
            None
        }
    };
}

pub(super) use searches;
