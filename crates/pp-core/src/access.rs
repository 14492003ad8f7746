//! Who else can reach the bytes of a page, as a type.

mod sealed {
    pub trait Sealed {}
}

/// The kinds of memory a pool can hand out; the `A` of [`Page<A>`](crate::Page). Closed: the three here are all.
///
/// [`Exposed`] has an example for each of the three.
pub trait Access: sealed::Sealed + Send + Sync + 'static {
    /// The kind in words. See [`Exposed`].
    const NAME: &'static str;
}

/// Memory the CPU reads and writes and nobody else does while a `Page` is held: it derefs to bytes. See [`Exposed`].
#[derive(Debug, Clone, Copy)]
pub enum Host {}

/// Memory the CPU has no access to (`net_iov` in the kernel): it has a length and perhaps a DMA address, and no bytes.
/// See [`Exposed`].
#[derive(Debug, Clone, Copy)]
pub enum Device {}

/// Memory that another process may write at any moment: bytes are copied in and out, and never borrowed.
///
/// # Examples
///
/// ```
/// use pp_core::{Access, CpuAccess, Device, Exposed, Host, Page};
///
/// fn host(page: &mut Page<Host>) {
///     page[0] = 7; // a slice
/// }
/// fn device(page: &Page<Device>) -> usize {
///     page.len() // and nothing else that is a byte
/// }
/// fn exposed(page: &mut Page<Exposed>) -> u8 {
///     let mut byte = [0];
///     page.copy_to(0, &mut byte).expect("inside the page");
///     page.copy_from(page.len() - 1, &byte).expect("inside the page");
///     assert!(page.copy_from(page.len(), &byte).is_err()); // an `OutOfRange`
///     // SAFETY: inside the page; others may be writing it.
///     unsafe { page.as_ptr().read_volatile() }
/// }
/// fn what<A: CpuAccess>() -> &'static str {
///     A::NAME
/// }
/// assert_eq!((what::<Host>(), what::<Exposed>(), Device::NAME), ("host", "exposed", "device"));
/// ```
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

/// The kinds whose bytes the CPU can reach: what zeroing needs. See [`Exposed`].
pub trait CpuAccess: Access {}
impl CpuAccess for Host {}
impl CpuAccess for Exposed {}
