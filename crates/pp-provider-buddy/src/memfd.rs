//! Files behind regions: memory that another process can map.
//!
//! What keeps pages sound is a matter of seals (`fcntl(2)`, `F_ADD_SEALS`; Linux 7.3, `mm/memfd.c`): no file may
//! shrink under its pages, and one whose pages are `Host` leaves this process only when nobody else can write it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;

use crate::error::BuddyError;

/// `f_type` of hugetlbfs.
const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;

/// A file that holds a region's memory, and where in it.
///
/// The region's first unit is at [`offset`](SharedFile::offset), the next one
/// [`Region::unit_bytes`](pp_core::Region::unit_bytes) further, and so on.
///
/// # Examples
///
/// ```
/// use pp_core::PagePool;
/// use pp_provider_buddy::Buddy;
///
/// let buddy = Buddy::builder().memfd(1 << 20).build()?;
/// let mut pool = PagePool::builder(&buddy).build()?;
/// pool.alloc()?[0] = 7;
/// let file = buddy.share_fd(0)?; // for reading and nothing else
/// assert_eq!((file.offset(), file.bytes(), file.page_bytes()), (0, 1 << 20, 4096));
/// let to_send = file.into_fd(); // by SCM_RIGHTS, to be mapped there
///
/// // A ring that both sides write: its pages are `Exposed`, also over a file that was received.
/// let exposed = Buddy::builder().exposed_memfd(1 << 16).build()?;
/// let file = exposed.share_fd_writable(0)?.into_fd();
/// let other_side = Buddy::builder().fd(file, 0, 1 << 16).build()?;
/// assert_eq!(other_side.total_units(), 16);
/// # drop(to_send);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SharedFile {
    fd: OwnedFd,
    offset: u64,
    bytes: usize,
    page_bytes: usize,
}

impl SharedFile {
    /// Where the region begins in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes of the file belong to the region.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes in a page of the file: mappings of it begin and end at multiples.
    pub fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// The bare descriptor, to send it to another process.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Lets nobody else become a writer: no write, no mapping for writing, no hole punched. Mappings that exist stay.
    pub(crate) fn seal_writers(&self) -> Result<(), BuddyError> {
        let have = fs::fcntl_get_seals(&self.fd).map_err(os("fcntl(F_GET_SEALS)"))?;
        if have.contains(SealFlags::FUTURE_WRITE) {
            return Ok(());
        }
        fs::fcntl_add_seals(&self.fd, SealFlags::FUTURE_WRITE).map_err(os("fcntl(F_ADD_SEALS)"))
    }

    /// The same file once more, with a descriptor that is closed on exec.
    pub(crate) fn duplicate(&self) -> Result<SharedFile, BuddyError> {
        let fd = self.fd.try_clone().map_err(|error| BuddyError::Os {
            call: "fcntl(F_DUPFD_CLOEXEC)",
            code: error.raw_os_error().unwrap_or(0),
        })?;
        Ok(SharedFile { fd, ..*self })
    }
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<SharedFile> for OwnedFd {
    fn from(file: SharedFile) -> Self {
        file.fd
    }
}

/// A fresh memfd of `bytes`, rounded up to pages, that can be neither shortened nor lengthened.
pub(crate) fn create(bytes: usize) -> Result<SharedFile, BuddyError> {
    let page_bytes = rustix::param::page_size();
    let bytes = bytes.next_multiple_of(page_bytes);
    let fd =
        fs::memfd_create("page-pool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(os("memfd_create"))?;
    fs::ftruncate(&fd, bytes as u64).map_err(os("ftruncate"))?;
    fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW).map_err(os("fcntl(F_ADD_SEALS)"))?;
    Ok(SharedFile { fd, offset: 0, bytes, page_bytes })
}

/// A caller's file, if its pages cannot vanish and the stretch is one that can be mapped.
pub(crate) fn adopt(fd: OwnedFd, offset: u64, bytes: usize) -> Result<SharedFile, BuddyError> {
    let seals = match fs::fcntl_get_seals(&fd) {
        Err(Errno::INVAL) => SealFlags::empty(), // a file that cannot be sealed at all
        seals => seals.map_err(os("fcntl(F_GET_SEALS)"))?,
    };
    if !seals.contains(SealFlags::SHRINK) {
        return Err(BuddyError::NotSealed);
    }
    let mode = fs::fcntl_getfl(&fd).map_err(os("fcntl(F_GETFL)"))? & OFlags::ACCMODE;
    if seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) || mode != OFlags::RDWR {
        return Err(BuddyError::NotWritable);
    }
    // After the seals: from here on the size only grows.
    let file_bytes = fs::fstat(&fd).map_err(os("fstat"))?.st_size as u64;
    let system = fs::fstatfs(&fd).map_err(os("fstatfs"))?;
    let huge = system.f_type as i64 & 0xffff_ffff == HUGETLBFS_MAGIC;
    let page_bytes = if huge { system.f_bsize as usize } else { rustix::param::page_size() };
    if offset.checked_add(bytes as u64).is_none_or(|end| end > file_bytes) {
        return Err(BuddyError::FileRange { offset, bytes, file_bytes });
    }
    if !offset.is_multiple_of(page_bytes as u64) || !bytes.is_multiple_of(page_bytes) {
        return Err(BuddyError::FileAlign { offset, bytes, page_bytes });
    }
    Ok(SharedFile { fd, offset, bytes, page_bytes })
}

/// Turns a failure of `call` into our error.
pub(crate) fn os(call: &'static str) -> impl Fn(Errno) -> BuddyError {
    move |error| BuddyError::Os { call, code: error.raw_os_error() }
}
