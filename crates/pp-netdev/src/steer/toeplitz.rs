//! The hash that receive-side scaling spreads flows by.

use std::fmt;
use std::net::IpAddr;

use super::flow::Flow;

/// Bytes of a key: as many as the longest input, two IPv6 addresses and two ports, and a word more.
const KEY_BYTES: usize = 40;
/// Half bytes of the longest input.
const NIBBLES: usize = 2 * (KEY_BYTES - 4);

/// The secret that the hash of [`Toeplitz`] is made of. With a random one nobody outside can say which flows meet in a queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u8; KEY_BYTES]);

/// Receive-side scaling's hash: for each bit of the input that is set, the 32 bits of the key from there on, added up without
/// carry ("Verifying the RSS hash calculation", Microsoft, where the examples come from that the tests check).
///
/// Over source and destination address, and source and destination port where there are any. What has no addresses hashes to 0.
///
/// # Examples
///
/// ```
/// use pp_netdev::steer::{Flow, HashKey, Toeplitz};
///
/// let mut flow = Flow::default();
/// flow.addresses = Some(("66.9.149.187".parse()?, "161.142.100.80".parse()?));
/// let hash = Toeplitz::new(HashKey::DEFAULT);
/// assert_eq!(hash.hash(&flow), 0x323e_8fc2);
/// flow.ports = Some((2794, 1766));
/// assert_eq!(hash.hash(&flow), 0x51cc_c178);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone)]
pub struct Toeplitz {
    /// What each value of each half byte of the input adds.
    shares: Box<[[u32; 16]; NIBBLES]>,
}

impl HashKey {
    /// The key of the published examples, which many devices begin with.
    pub const DEFAULT: Self = Self([
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
        0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
        0xbe, 0xac, 0x01, 0xfa,
    ]);

    /// The 32 bits of the key from bit `at` on.
    fn window(&self, at: usize) -> u32 {
        let byte = at / 8;
        let word = (0..5).fold(0u64, |word, next| word << 8 | u64::from(self.0.get(byte + next).copied().unwrap_or(0)));
        (word >> (8 - at % 8)) as u32
    }
}

impl Default for HashKey {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Not printed: a secret.
impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

impl Toeplitz {
    /// The hash of this key.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        let mut shares = Box::new([[0; 16]; NIBBLES]);
        for (nibble, values) in shares.iter_mut().enumerate() {
            for (value, share) in values.iter_mut().enumerate() {
                // The highest bit comes first.
                let bits = (0..4).filter(|bit| value & 8 >> bit != 0);
                *share = bits.fold(0, |sum, bit| sum ^ key.window(4 * nibble + bit));
            }
        }
        Self { shares }
    }

    /// The hash of a flow.
    #[must_use]
    pub fn hash(&self, flow: &Flow) -> u32 {
        let Some((source, destination)) = flow.addresses else { return 0 };
        let mut hash = 0;
        let mut shares = self.shares.iter();
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                for value in [byte >> 4, byte & 0xf] {
                    hash ^= shares.next().map_or(0, |share| share[usize::from(value)]);
                }
            }
        };
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => add(&address.octets()),
                IpAddr::V6(address) => add(&address.octets()),
            }
        }
        if let Some((source, destination)) = flow.ports {
            add(&source.to_be_bytes());
            add(&destination.to_be_bytes());
        }
        hash
    }
}

impl fmt::Debug for Toeplitz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the key nor what it can be computed from.
        f.write_str("Toeplitz")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published examples: destination, source, the hash over the addresses, and with the ports.
    #[test]
    fn the_published_examples_hold() {
        let hash = Toeplitz::new(HashKey::DEFAULT);
        for (destination, source, of_addresses, of_all) in [
            (("161.142.100.80", 1766), ("66.9.149.187", 2794), 0x323e_8fc2, 0x51cc_c178),
            (("65.69.140.83", 4739), ("199.92.111.2", 14230), 0xd718_262a, 0xc626_b0ea),
            (("12.22.207.184", 38024), ("24.19.198.95", 12898), 0xd2d0_a5de, 0x5c2b_394a),
            (("209.142.163.6", 2217), ("38.27.205.30", 48228), 0x8298_9176, 0xafc7_327f),
            (("202.188.127.2", 1303), ("153.39.163.191", 44251), 0x5d18_09c5, 0x10e8_28a2),
            (("3ffe:2501:200:3::1", 1766), ("3ffe:2501:200:1fff::7", 2794), 0x2cc1_8cd5, 0x4020_7d3d),
            (("ff02::1", 4739), ("3ffe:501:8::260:97ff:fe40:efab", 14230), 0x0f0c_461c, 0xdde5_1bbf),
            (
                ("fe80::200:f8ff:fe21:67cf", 38024),
                ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251),
                0x4b61_e985,
                0x02d1_feef,
            ),
        ] {
            let addresses = Some((source.0.parse().unwrap(), destination.0.parse().unwrap()));
            let mut flow = Flow { addresses, ..Flow::default() };
            assert_eq!(hash.hash(&flow), of_addresses, "{source:?} {destination:?}");
            flow.ports = Some((source.1, destination.1));
            assert_eq!(hash.hash(&flow), of_all, "{source:?} {destination:?}");
        }
        assert_eq!(hash.hash(&Flow::default()), 0);
        assert_eq!(format!("{hash:?}"), "Toeplitz");
    }

    #[test]
    fn another_key_is_another_hash() {
        let mut key = HashKey::DEFAULT;
        key.0[0] ^= 0x80;
        let addresses = Some(([66, 9, 149, 187].into(), [161, 142, 100, 80].into()));
        let flow = Flow { addresses, ..Flow::default() };
        // The first bit of the key counts where the first bit of the input is set: of 66 it is not, of 199 it is.
        assert_eq!(Toeplitz::new(key).hash(&flow), 0x323e_8fc2);
        let flow = Flow { addresses: Some(([199, 92, 111, 2].into(), [65, 69, 140, 83].into())), ..flow };
        assert_ne!(Toeplitz::new(key).hash(&flow), 0xd718_262a);
    }
}
