//! What is done with a received packet.

/// What becomes of a packet. Kernel counterpart: `enum xdp_action` (Linux 7.3, `include/uapi/linux/bpf.h`).
///
/// See [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it out (`XDP_TX`, `XDP_REDIRECT`): its page moves to the transmit ring, nothing is copied.
    Forward,
    /// Forget it (`XDP_DROP`): its page goes straight back into the pool's cache.
    Drop,
}

/// Decides about packets, and may change their bytes. Every `FnMut(&mut [u8]) -> Verdict` is one.
///
/// It runs on the poll loop's thread, between two packets; a panic in it ends the run with an error.
///
/// # Examples
///
/// ```
/// use pp_netdev::{Action, Program, Verdict};
///
/// let mut only_ipv4 = |packet: &mut [u8]| match packet.get(12..14) {
///     Some([0x08, 0x00]) => Verdict::Forward,
///     _ => Verdict::Drop,
/// };
/// let mut packet = *b"destinsource\x08\x00payload";
/// assert_eq!(only_ipv4.run(&mut packet), Verdict::Forward);
/// Action::SwapMac.run(&mut packet);
/// assert_eq!(&packet[..12], b"sourcedestin");
/// ```
pub trait Program: Send {
    /// The verdict on one packet.
    fn run(&mut self, packet: &mut [u8]) -> Verdict;
}

impl<F: FnMut(&mut [u8]) -> Verdict + Send> Program for F {
    fn run(&mut self, packet: &mut [u8]) -> Verdict {
        self(packet)
    }
}

/// The ready-made programs.
///
/// See [`Program`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sends every packet out as it came.
    #[default]
    Forward,
    /// Drops every packet.
    Drop,
    /// Exchanges the two Ethernet addresses and sends the packet back out. One that is too short to have both is
    /// dropped, as XDP programs do.
    SwapMac,
}

/// Bytes of one Ethernet address (`ETH_ALEN`).
const ADDRESS: usize = 6;

impl Program for Action {
    #[inline]
    fn run(&mut self, packet: &mut [u8]) -> Verdict {
        match self {
            Action::Forward => Verdict::Forward,
            Action::Drop => Verdict::Drop,
            Action::SwapMac => match packet.split_at_mut_checked(ADDRESS) {
                Some((destination, rest)) if rest.len() >= ADDRESS => {
                    destination.swap_with_slice(&mut rest[..ADDRESS]);
                    Verdict::Forward
                }
                _ => Verdict::Drop,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_mac_exchanges_the_addresses_and_nothing_else() {
        let mut packet = *b"dddddd\0ssss\xff-rest";
        assert_eq!(Action::SwapMac.run(&mut packet), Verdict::Forward);
        assert_eq!(&packet, b"\0ssss\xffdddddd-rest");
        assert_eq!(Action::SwapMac.run(&mut packet[..12]), Verdict::Forward);
        assert_eq!(&packet, b"dddddd\0ssss\xff-rest");
    }

    #[test]
    fn a_packet_without_two_addresses_is_dropped_unchanged() {
        for len in 0..12 {
            let mut packet = [7u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
            let before = packet;
            assert_eq!(Action::SwapMac.run(&mut packet[..len]), Verdict::Drop);
            assert_eq!(packet, before);
        }
    }

    #[test]
    fn a_closure_is_a_program() {
        let mut seen = 0;
        let mut program = |packet: &mut [u8]| {
            seen += packet.len();
            Verdict::Drop
        };
        assert_eq!(Program::run(&mut program, &mut [1, 2, 3]), Verdict::Drop);
        assert_eq!(seen, 3);
    }
}
