//! What a campaign counts, by name: one enum of everything that can happen, and its counters.

/// Makes `Count`, with its names, and `Counters`, one number for each.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Something that a run counts. A campaign in which one stays 0 has not tested it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Count {
            $($(#[$doc])* $name,)+
        }

        impl Count {
            /// All of them, in the order of a report.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in a report.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }

        /// The counts of one run, or of a campaign.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Counters([u64; Count::ALL.len()]);

        impl Default for Counters {
            fn default() -> Self {
                Self([0; Count::ALL.len()])
            }
        }

        impl Counters {
            /// Adds another run's.
            pub fn add(&mut self, other: &Self) {
                for (sum, more) in self.0.iter_mut().zip(&other.0) {
                    *sum = sum.saturating_add(*more);
                }
            }

            /// Each with its count.
            pub fn iter(&self) -> impl Iterator<Item = (Count, u64)> + '_ {
                Count::ALL.iter().copied().zip(self.0)
            }

            pub(super) fn count(&mut self, count: Count) {
                let at = Count::ALL.iter().position(|one| *one == count);
                if let Some(sum) = at.and_then(|at| self.0.get_mut(at)) {
                    *sum = sum.saturating_add(1);
                }
            }
        }
    };
}
