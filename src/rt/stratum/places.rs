//! Who has how many of a server's connections.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the connections of each address.
#[derive(Debug)]
pub(super) struct Places {
    /// Addresses without a connection are not kept, so there are as many as there are connections.
    taken: Mutex<BTreeMap<Owner, usize>>,
    of_address_max: usize,
}

/// Who is counted as one: an IPv4 address, or the network of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl Owner {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// A place that was taken. When it is dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    owner: Owner,
}

impl Places {
    pub(super) fn new(of_address_max: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(BTreeMap::new()), of_address_max })
    }

    /// A place for this address; none if it has as many as it may.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let owner = Owner::of(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&owner).copied().unwrap_or(0);
        if count >= self.of_address_max {
            return None;
        }
        taken.insert(owner, count.saturating_add(1));
        Some(Place { of: Arc::clone(self), owner })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(taken.remove(&self.owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_places_and_gets_them_back() {
        let places = Places::new(2);
        let here = address("192.0.2.1");
        let first = places.take(here).unwrap();
        let _second = places.take(here).unwrap();
        assert!(places.take(here).is_none());
        // The same machine by the other family's name for it.
        assert!(places.take(address("::ffff:192.0.2.1")).is_none());
        let _other = places.take(address("192.0.2.2")).unwrap();
        drop(first);
        let _third = places.take(here).unwrap();
        assert!(places.take(here).is_none());
    }

    #[test]
    fn network_of_64_bits_is_one_address_of_the_newer_family() {
        let places = Places::new(1);
        let _one = places.take(address("2001:db8:1:2::1")).unwrap();
        assert!(places.take(address("2001:db8:1:2:ffff::9")).is_none());
        assert!(places.take(address("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn addresses_that_have_left_are_forgotten() {
        let places = Places::new(1);
        for host in 0..=255 {
            drop(places.take(IpAddr::from([192, 0, 2, host])).unwrap());
        }
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
