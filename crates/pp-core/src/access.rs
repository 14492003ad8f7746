//! Who else can reach the bytes of a page, as a type.

mod sealed {
    pub trait Sealed {}
}

/// The kinds of memory a pool can hand out; the `A` of [`Page<A>`](crate::Page). Closed: the three here are all.
pub trait Access: sealed::Sealed + Send + Sync + 'static {
    /// The kind in words.
    const NAME: &'static str;
}

/// Memory the CPU reads and writes and nobody else does while a `Page` is held: it derefs to bytes.
#[derive(Debug, Clone, Copy)]
pub enum Host {}

/// Memory the CPU has no access to (`net_iov` in the kernel): it has a length and perhaps a DMA address, and no bytes.
#[derive(Debug, Clone, Copy)]
pub enum Device {}

/// Memory that another process may write at any moment: bytes are copied in and out, and never borrowed.
#[derive(Debug, Clone, Copy)]
pub enum Exposed {}

impl sealed::Sealed for Host {}
impl sealed::Sealed for Device {}
impl sealed::Sealed for Exposed {}

impl Access for Host {
    const NAME: &'static str = "host";
}
impl Access for Device {
    const NAME: &'static str = "device";
}
impl Access for Exposed {
    const NAME: &'static str = "exposed";
}

/// The kinds whose bytes the CPU can reach: what zeroing needs.
pub trait CpuAccess: Access {}
impl CpuAccess for Host {}
impl CpuAccess for Exposed {}
