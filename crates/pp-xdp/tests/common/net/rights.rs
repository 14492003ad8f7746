//! What a thread may do.

/// Numbers of capabilities.
pub(crate) const CAP_NET_ADMIN: u32 = 12;
pub(crate) const CAP_NET_RAW: u32 = 13;
pub(crate) const CAP_BPF: u32 = 39;

/// Leaves the calling thread no other rights than these, for good.
pub(crate) fn keep(capabilities: &[u32]) {
    let set = capabilities.iter().fold(0_u64, |set, capability| set | 1 << capability);
    let (low, high) = (set as u32, (set >> 32) as u32);
    let header = [0x2008_0522, 0_u32]; // the third version, for this thread
    let data = [low, low, 0, high, high, 0]; // effective, permitted, inheritable
    // SAFETY: the call reads the two arrays, which are of the sizes that this version has.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const data) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
