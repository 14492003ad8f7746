//! What a program says is to become of a packet.

/// A program's verdict (`enum xdp_action`, Linux 7.3).
///
/// # Examples
///
/// ```
/// use pp_xdp::XdpAction;
/// assert_eq!(XdpAction::try_from(1), Ok(XdpAction::Drop));
/// assert_eq!(XdpAction::try_from(5).unwrap_or(XdpAction::Aborted), XdpAction::Aborted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum XdpAction {
    /// The program failed; the packet is dropped, and that is worth a trace. What a number that is no verdict means, too.
    Aborted = 0,
    /// The packet is dropped: its memory goes straight back to the allocator.
    Drop = 1,
    /// The packet goes up to the network stack.
    Pass = 2,
    /// The packet leaves through the device it came from.
    Tx = 3,
    /// The packet leaves through another device, or goes to another processor or socket.
    Redirect = 4,
}

/// A number that is no verdict; [`XdpAction`] shows one. Drivers treat it as [`XdpAction::Aborted`] (`bpf_warn_invalid_xdp_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAction(pub u32);

impl core::fmt::Display for UnknownAction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is no XDP verdict, which are 0 to 4; drop the packet as if the program had aborted", self.0)
    }
}

impl core::error::Error for UnknownAction {}

impl TryFrom<u32> for XdpAction {
    type Error = UnknownAction;

    fn try_from(verdict: u32) -> Result<Self, UnknownAction> {
        Ok(match verdict {
            0 => XdpAction::Aborted,
            1 => XdpAction::Drop,
            2 => XdpAction::Pass,
            3 => XdpAction::Tx,
            4 => XdpAction::Redirect,
            unknown => return Err(UnknownAction(unknown)),
        })
    }
}
