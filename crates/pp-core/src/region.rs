//! A stretch of memory cut into units, with a descriptor each.

use alloc::boxed::Box;
use core::ptr::NonNull;

use crate::descriptor::Descriptor;
use crate::provider::{NodeId, Unit};

/// Memory that a [`Region`] is made over, kept alive by it.
///
/// # Safety
///
/// From the moment the value is made until it is dropped, `base()` is the same address and, unless null, valid
/// for reads and writes of `bytes()` bytes, initialised, and used by nobody in this process but through the region.
///
/// # Examples
///
/// ```
/// use pp_core::{NodeId, Region, RegionMemory};
///
/// /// A leaked vector.
/// struct Leaked(*mut [u8]);
/// // SAFETY: nobody else has the memory.
/// unsafe impl Send for Leaked {}
/// // SAFETY: as above.
/// unsafe impl Sync for Leaked {}
/// // SAFETY: initialised, never freed, reached by nobody else.
/// unsafe impl RegionMemory for Leaked {
///     fn base(&self) -> *mut u8 {
///         self.0.cast()
///     }
///     fn bytes(&self) -> usize {
///         self.0.len()
///     }
/// }
///
/// let memory = Leaked(Box::leak(vec![0; 1 << 16].into_boxed_slice()));
/// let (base, bytes) = (memory.base(), memory.bytes());
/// let region = Region::new(memory, 4096, NodeId(0))?;
/// assert!(region.base() >= base && region.bytes() <= bytes); // aligned, in whole units
/// # Ok::<(), pp_core::RegionError>(())
/// ```
pub unsafe trait RegionMemory: Send + Sync + 'static {
    /// First byte; null for memory that the CPU has no address for.
    fn base(&self) -> *mut u8;
    /// How many bytes.
    fn bytes(&self) -> usize;
}

/// A caller's static memory, turned into a raw pointer at once: a live `&mut` beside pages would be undefined behaviour.
/// See [`Region`].
#[derive(Debug)]
pub struct StaticMemory {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory was borrowed exclusively for ever and is reached through the region only.
unsafe impl Send for StaticMemory {}
// SAFETY: as above.
unsafe impl Sync for StaticMemory {}

impl StaticMemory {
    /// Takes the memory over.
    pub fn new(memory: &'static mut [u8]) -> Self {
        let bytes = memory.len();
        StaticMemory { base: NonNull::from(memory).cast(), bytes }
    }
}

// SAFETY: `&'static mut [u8]` is valid, initialised and exclusive for ever; `new` consumed it.
unsafe impl RegionMemory for StaticMemory {
    fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Why memory cannot be cut into units. See [`Region`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionError {
    /// A unit must be a power of two between 64 bytes and 2 GiB.
    UnitSize {
        /// What was asked for.
        unit_bytes: usize,
    },
    /// Not even one aligned unit fits.
    TooSmall {
        /// What there is.
        bytes: usize,
        /// What one unit needs.
        unit_bytes: usize,
    },
    /// More units than a 32-bit index can tell apart.
    TooMany {
        /// How many there would be.
        units: usize,
    },
}

impl core::fmt::Display for RegionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RegionError::UnitSize { unit_bytes } => {
                write!(f, "a unit of {unit_bytes} bytes is not possible; use a power of two from 64 to 2147483648")
            }
            RegionError::TooSmall { bytes, unit_bytes } => write!(
                f,
                "{bytes} bytes hold no aligned unit of {unit_bytes} bytes; give more memory or a smaller unit"
            ),
            RegionError::TooMany { units } => {
                write!(f, "{units} units are more than a region can number; use a larger unit or several regions")
            }
        }
    }
}

impl core::error::Error for RegionError {}

/// Memory and its descriptor array: unit, index and address turn into each other in constant time.
///
/// A pointer is ours because a region says so; nothing is guessed from its bits.
///
/// # Examples
///
/// ```
/// use pp_core::{NodeId, Region, RegionError, StaticMemory};
///
/// let memory: &'static mut [u8] = Box::leak(vec![0; 1 << 16].into_boxed_slice()); // in a kernel: a static
/// let region = Region::new(StaticMemory::new(memory), 4096, NodeId(0))?;
/// assert_eq!((region.unit_bytes(), region.node()), (4096, NodeId(0)));
/// assert_eq!(region.bytes(), region.units() as usize * 4096);
///
/// // Unit, index and address turn into each other.
/// let unit = region.descriptor(2).expect("the third unit");
/// let address = region.address(2).expect("it has one");
/// assert_eq!(unit.addr(), address.as_ptr());
/// assert_eq!(address.as_ptr(), region.base().wrapping_add(2 * 4096));
/// assert_eq!((region.index_of(unit), region.index_of_address(address.as_ptr())), (Some(2), Some(2)));
/// assert!(region.contains(unit));
///
/// // SAFETY: nobody has handed it out yet.
/// let unit = unsafe { region.unit(2) };
/// assert_eq!(region.index_of(unit.descriptor()), Some(2));
///
/// let error = Region::new(StaticMemory::new(&mut []), 4096, NodeId(0)).unwrap_err();
/// assert_eq!(error, RegionError::TooSmall { bytes: 0, unit_bytes: 4096 });
/// # Ok::<(), RegionError>(())
/// ```
pub struct Region {
    base: *mut u8,
    unit_shift: u32,
    node: NodeId,
    descriptors: Box<[Descriptor]>,
    _memory: Box<dyn RegionMemory>,
}

// SAFETY: the raw base is only arithmetic here; the memory is `Send + Sync` by its trait.
unsafe impl Send for Region {}
// SAFETY: as above; descriptors are made of atomics.
unsafe impl Sync for Region {}

impl Region {
    /// Cuts `memory` into units of `unit_bytes`, each aligned to its size; a ragged head and tail stay unused.
    ///
    /// # Errors
    ///
    /// [`RegionError`] when no unit fits, the size is impossible, or there are over 2^32 - 2 units.
    pub fn new(memory: impl RegionMemory, unit_bytes: usize, node: NodeId) -> Result<Self, RegionError> {
        if !unit_bytes.is_power_of_two() || !(64..=1 << 31).contains(&unit_bytes) {
            return Err(RegionError::UnitSize { unit_bytes });
        }
        let (start, bytes) = (memory.base(), memory.bytes());
        let skip = if start.is_null() { 0 } else { start.addr().wrapping_neg() & (unit_bytes - 1) };
        let units = bytes.saturating_sub(skip) / unit_bytes;
        if units == 0 {
            return Err(RegionError::TooSmall { bytes, unit_bytes });
        }
        if units >= u32::MAX as usize {
            return Err(RegionError::TooMany { units });
        }
        let base = start.wrapping_add(skip);
        let descriptors = (0..units)
            .map(|index| {
                let addr = if start.is_null() { start } else { base.wrapping_add(index * unit_bytes) };
                Descriptor::new(addr, unit_bytes as u32, node)
            })
            .collect();
        let base = if start.is_null() { start } else { base };
        Ok(Region { base, unit_shift: unit_bytes.trailing_zeros(), node, descriptors, _memory: Box::new(memory) })
    }

    /// How many units.
    pub fn units(&self) -> u32 {
        self.descriptors.len() as u32
    }

    /// Bytes in one unit.
    pub fn unit_bytes(&self) -> usize {
        1 << self.unit_shift
    }

    /// The node the memory lies on.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// First byte of unit 0; null where the CPU has no address.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Bytes in all units together.
    pub fn bytes(&self) -> usize {
        self.descriptors.len() << self.unit_shift
    }

    /// The descriptor of unit `index`, if there is one.
    pub fn descriptor(&self, index: u32) -> Option<&Descriptor> {
        self.descriptors.get(index as usize)
    }

    /// The first byte of unit `index`, if there is such a unit and it has an address.
    pub fn address(&self, index: u32) -> Option<NonNull<u8>> {
        if index >= self.units() || self.base.is_null() {
            return None;
        }
        NonNull::new(self.base.wrapping_add((index as usize) << self.unit_shift))
    }

    /// The unit that `descriptor` describes, if it is one of this region.
    pub fn index_of(&self, descriptor: &Descriptor) -> Option<u32> {
        let offset = core::ptr::from_ref(descriptor).addr().wrapping_sub(self.descriptors.as_ptr().addr());
        let index = offset / size_of::<Descriptor>();
        (index < self.descriptors.len()).then_some(index as u32)
    }

    /// The unit that the byte at `address` belongs to, if it is one of this region.
    pub fn index_of_address(&self, address: *const u8) -> Option<u32> {
        if self.base.is_null() {
            return None;
        }
        let offset = address.addr().wrapping_sub(self.base.addr());
        (offset < self.bytes()).then_some((offset >> self.unit_shift) as u32)
    }

    /// Whether `page` lies in this region.
    pub fn contains(&self, descriptor: &Descriptor) -> bool {
        self.index_of(descriptor).is_some()
    }

    /// The right to hand out unit `index`.
    ///
    /// # Safety
    ///
    /// The unit is home, no other [`Unit`] for it exists, and this region outlives all use of it.
    ///
    /// # Panics
    ///
    /// If there is no such unit.
    pub unsafe fn unit(&self, index: u32) -> Unit {
        // SAFETY: the caller's promise, and the descriptor lives in `self`.
        unsafe { Unit::new(&self.descriptors[index as usize]) }
    }
}

impl core::fmt::Debug for Region {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Region")
            .field("base", &self.base)
            .field("units", &self.units())
            .field("unit_bytes", &self.unit_bytes())
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
