//! What kind of memory a packet lies in, and which allocator's.

use core::num::NonZeroU16;

/// The kinds of allocators (`enum xdp_mem_type`, Linux 7.3, and the two that the kernel has in other forms). Closed: what is none of
/// these is [`User`](MemType::User).
///
/// # Examples
///
/// ```
/// use pp_xdp::{MemType, UnknownMemType};
/// assert_eq!(MemType::try_from(2), Ok(MemType::PagePool));
/// assert_eq!(MemType::try_from(6), Err(UnknownMemType(6)));
/// assert_eq!((MemType::XskBuffPool.name(), MemType::User.to_string()), ("xsk-buff-pool", "user-defined".into()));
/// assert!(MemType::ALL.iter().filter(|mem_type| mem_type.needs_pool()).eq(&[MemType::PagePool, MemType::Device]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MemType {
    /// Several packets to a page, which is counted (`MEM_TYPE_PAGE_SHARED`). [`SplitPages`](crate::SplitPages).
    PageShared = 0,
    /// A page a packet, of nobody's pool (`MEM_TYPE_PAGE_ORDER0`). [`Order0Pages`](crate::Order0Pages).
    PageOrder0 = 1,
    /// Pages and fragments of a page pool (`MEM_TYPE_PAGE_POOL`). [`PagePool`](pp_core::PagePool), [`PoolFrags`](crate::PoolFrags).
    PagePool = 2,
    /// Chunks of a fixed area, as AF_XDP has them (`MEM_TYPE_XSK_BUFF_POOL`). [`XskBuffPool`](crate::XskBuffPool).
    XskBuffPool = 3,
    /// Pages of a pool whose bytes only devices can reach. In the kernel a page pool with a memory provider.
    Device = 4,
    /// Whatever implements [`Memory`](crate::Memory).
    User = 5,
}

/// A number that is no memory type (kernel: EOPNOTSUPP); [`MemType`] shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMemType(pub u32);

impl core::fmt::Display for UnknownMemType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is no memory type; use 0 to 5, or implement the user-defined one", self.0)
    }
}

impl core::error::Error for UnknownMemType {}

impl MemType {
    /// All of them.
    pub const ALL: [MemType; 6] = [
        MemType::PageShared,
        MemType::PageOrder0,
        MemType::PagePool,
        MemType::XskBuffPool,
        MemType::Device,
        MemType::User,
    ];

    /// Whether memory of this type comes out of a page pool, without which it cannot be registered.
    pub const fn needs_pool(self) -> bool {
        matches!(self, MemType::PagePool | MemType::Device)
    }

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            MemType::PageShared => "page-shared",
            MemType::PageOrder0 => "page-order0",
            MemType::PagePool => "page-pool",
            MemType::XskBuffPool => "xsk-buff-pool",
            MemType::Device => "device",
            MemType::User => "user-defined",
        }
    }
}

impl TryFrom<u32> for MemType {
    type Error = UnknownMemType;

    fn try_from(number: u32) -> Result<Self, UnknownMemType> {
        let index = usize::try_from(number).map_err(|_| UnknownMemType(number))?;
        MemType::ALL.get(index).copied().ok_or(UnknownMemType(number))
    }
}

impl core::fmt::Display for MemType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// The number of a registered allocator: 1 to 0xFFFD (`MEM_ID_MIN`, `MEM_ID_MAX`). `Option<MemId>` is no larger.
///
/// # Examples
///
/// ```
/// use pp_xdp::MemId;
/// assert_eq!((MemId::MIN.get(), MemId::MAX.get()), (1, 0xFFFD));
/// assert_eq!((MemId::new(0), MemId::new(0xFFFE)), (None, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemId(NonZeroU16);

const _: () = assert!(size_of::<Option<MemId>>() == 2);

impl MemId {
    /// The lowest.
    pub const MIN: MemId = MemId(NonZeroU16::MIN);
    /// The highest.
    pub const MAX: MemId = MemId(NonZeroU16::new(0xFFFD).unwrap());

    /// The id of this number, if it is one.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(id) if number <= MemId::MAX.get() => Some(MemId(id)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The one after it; after the highest, none.
    pub(crate) fn next(self) -> Option<Self> {
        MemId::new(self.get() + 1)
    }
}

impl core::fmt::Display for MemId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a queue and its frames say of their memory (`struct xdp_mem_info`). [`RxqInfo`](crate::RxqInfo) shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemInfo {
    /// The type.
    pub mem_type: MemType,
    /// The allocator's number; `None` for types that were registered without one. Once that is unregistered, and nobody has a
    /// [`MemRef`](crate::MemRef) of it in hand, it may become another's.
    pub id: Option<MemId>,
}
