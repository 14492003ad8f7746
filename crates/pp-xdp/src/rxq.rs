//! What a receive queue tells programs and frames of itself.

use pp_core::GivenBack;

use crate::buff::XdpBuff;
use crate::buffer::Buffer;
use crate::error::BuffError;
use crate::mem_type::{MemInfo, MemType};
use crate::memory::MemModel;
use crate::packet::Packet;
use crate::registry::{IdsExhausted, MemRef, Registration, Registry};

/// Where a queue is in its life (`REG_STATE_*`). [`RxqInfo`] goes through them.
///
/// | state | leaves it |
/// |---|---|
/// | `New` | `reg`, `unused` |
/// | `Registered` | `unreg` |
/// | `Unregistered` | `reg`, `unused` |
/// | `Unused` | nothing |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxqState {
    /// Nothing was done with it yet.
    #[default]
    New,
    /// Packets may be received.
    Registered,
    /// It was registered once.
    Unregistered,
    /// The driver promised never to receive on it.
    Unused,
}

/// Which queue of which device it is (the arguments of `xdp_rxq_info_reg`).
///
/// ```
/// use pp_xdp::RxqParams;
/// let params = RxqParams::new(2, 0).with_napi(7);
/// assert_eq!((params.ifindex, params.queue, params.napi_id), (2, 0, 7));
/// ```
///
/// A fragment size, which the kernel wants for queues of several buffers a packet, is not among them: a buffer here knows where it
/// ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RxqParams {
    /// The device's number. There is no queue without a device (kernel: ENODEV).
    pub ifindex: u32,
    /// The queue's number.
    pub queue: u32,
    /// Who polls it.
    pub napi_id: u32,
}

impl RxqParams {
    /// Queue `queue` of device `ifindex`, polled by nobody in particular.
    pub const fn new(ifindex: u32, queue: u32) -> Self {
        RxqParams { ifindex, queue, napi_id: 0 }
    }

    /// The same, polled by this one.
    pub const fn with_napi(self, napi_id: u32) -> Self {
        RxqParams { napi_id, ..self }
    }
}

/// A receive queue's entry for XDP (`struct xdp_rxq_info`).
///
/// First the queue is registered, then its memory, as the kernel wants it. What fails leaves the queue as it was before the call;
/// a driver that gives up between the two steps drops the value, and both are undone.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_xdp::{Memory, MemModel, MemType, RegError, Registry, RxqInfo, RxqParams, RxqState};
/// let registry = Registry::new();
/// let pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let mut rxq = RxqInfo::new();
/// assert_eq!(rxq.reg_mem_model(&registry, pool.model()), Err(RegError::NotRegistered { state: RxqState::New }));
/// rxq.reg(RxqParams::new(1, 0))?;
/// let no_pool = MemModel::without_allocator(MemType::PagePool);
/// assert_eq!(rxq.reg_mem_model(&registry, no_pool), Err(RegError::PoolMissing { mem_type: MemType::PagePool }));
/// let info = rxq.reg_mem_model(&registry, pool.model())?;
/// assert_eq!((rxq.is_reg(), rxq.mem(), rxq.params()), (true, Some(info), Some(RxqParams::new(1, 0))));
/// # let mut pool = pool;
/// let too_long = rxq.prepare(pool.alloc()?, 256, 4000).expect_err("4256 bytes in a page of 4096");
/// println!("{}", too_long.reason);
/// drop(too_long.buffer);
/// rxq.unreg_mem_model()?;
///
/// // Or one registration for several queues.
/// let registration = registry.register(pool.model())?;
/// rxq.attach(registration.mem_ref().expect("registered")).map_err(|refused| refused.reason)?;
/// rxq.detach()?;
/// rxq.unreg()?;
/// rxq.unused()?;
/// assert_eq!(rxq.state(), RxqState::Unused);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct RxqInfo {
    state: RxqState,
    params: Option<RxqParams>,
    model: Option<Model>,
}

#[derive(Debug)]
enum Model {
    /// Registered for this queue alone.
    Own(Registration),
    /// Registered by somebody, for several queues.
    Attached(MemRef),
}

/// Why a queue or its memory could not be registered; both are as they were. [`RxqInfo`] shows two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegError {
    /// The queue is registered (kernel: warns, and unregisters it first).
    AlreadyRegistered,
    /// The driver promised not to use the queue (kernel: EINVAL).
    Unused,
    /// There is no device of number 0 (kernel: ENODEV).
    NoDevice,
    /// The queue is not registered (kernel: EFAULT, or a warning).
    NotRegistered {
        /// What it is instead.
        state: RxqState,
    },
    /// The queue has memory registered or attached.
    HasMemory {
        /// Which.
        mem: MemInfo,
    },
    /// The queue has no memory of that kind to be let go.
    NoMemory,
    /// A pool type without a pool (kernel: EINVAL).
    PoolMissing {
        /// The type.
        mem_type: MemType,
    },
    /// No memory id is left.
    Ids(IdsExhausted),
}

impl core::fmt::Display for RegError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RegError::AlreadyRegistered => f.write_str("the queue is registered; unregister it first"),
            RegError::Unused => f.write_str("the queue was declared unused; use another `RxqInfo` for it"),
            RegError::NoDevice => f.write_str("there is no device of number 0; give the device's own"),
            RegError::NotRegistered { state } => write!(f, "the queue is {state:?}; register it first"),
            RegError::HasMemory { mem } => {
                write!(f, "the queue has {} memory; detach or unregister that first", mem.mem_type)
            }
            RegError::NoMemory => f.write_str("the queue has no such memory; register or attach some first"),
            RegError::PoolMissing { mem_type } => {
                write!(f, "{mem_type} memory comes out of a pool, and there is none; register the pool's own model")
            }
            RegError::Ids(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RegError {}

impl RxqInfo {
    /// An entry for a queue that is not registered.
    pub const fn new() -> Self {
        RxqInfo { state: RxqState::New, params: None, model: None }
    }

    /// Registers the queue (`xdp_rxq_info_reg`).
    ///
    /// # Errors
    ///
    /// `AlreadyRegistered`, `Unused` or `NoDevice`.
    pub fn reg(&mut self, params: RxqParams) -> Result<(), RegError> {
        match self.state {
            RxqState::Registered => return Err(RegError::AlreadyRegistered),
            RxqState::Unused => return Err(RegError::Unused),
            RxqState::New | RxqState::Unregistered => {}
        }
        if params.ifindex == 0 {
            return Err(RegError::NoDevice);
        }
        self.params = Some(params);
        self.state = RxqState::Registered;
        Ok(())
    }

    /// Unregisters the queue, and its memory if it has some (`xdp_rxq_info_unreg`). Never waits, whatever is still out. Of a
    /// queue that is unused nothing, without complaint.
    ///
    /// # Errors
    ///
    /// `NotRegistered`.
    pub fn unreg(&mut self) -> Result<(), RegError> {
        if self.state == RxqState::Unused {
            return Ok(());
        }
        self.must_be_registered()?;
        // First the memory, then the queue.
        self.model = None;
        self.params = None;
        self.state = RxqState::Unregistered;
        Ok(())
    }

    /// Promises that nothing will ever be received on the queue (`xdp_rxq_info_unused`).
    ///
    /// # Errors
    ///
    /// `AlreadyRegistered`.
    pub fn unused(&mut self) -> Result<(), RegError> {
        if self.is_reg() {
            return Err(RegError::AlreadyRegistered);
        }
        self.state = RxqState::Unused;
        Ok(())
    }

    /// Whether the queue is registered (`xdp_rxq_info_is_reg`).
    pub fn is_reg(&self) -> bool {
        self.state == RxqState::Registered
    }

    /// Where it is in its life.
    pub fn state(&self) -> RxqState {
        self.state
    }

    /// Which queue it is, while it is registered.
    pub fn params(&self) -> Option<RxqParams> {
        self.params
    }

    /// What memory it receives into, if that is registered.
    pub fn mem(&self) -> Option<MemInfo> {
        self.model.as_ref().map(|model| match model {
            Model::Own(registration) => registration.info(),
            Model::Attached(mem) => mem.info(),
        })
    }

    /// Registers the memory that this queue receives into, for it alone (`xdp_rxq_info_reg_mem_model`).
    ///
    /// # Errors
    ///
    /// `NotRegistered`, `HasMemory`, `PoolMissing` or `Ids`. The registry is as it was.
    pub fn reg_mem_model(&mut self, registry: &Registry, model: MemModel) -> Result<MemInfo, RegError> {
        self.must_take_memory()?;
        let mem_type = model.mem_type();
        if mem_type.needs_pool() && !model.has_allocator() {
            return Err(RegError::PoolMissing { mem_type });
        }
        let registration = registry.register(model).map_err(RegError::Ids)?;
        let info = registration.info();
        self.model = Some(Model::Own(registration));
        Ok(info)
    }

    /// Unregisters the memory and keeps the queue (`xdp_rxq_info_unreg_mem_model`).
    ///
    /// # Errors
    ///
    /// `NotRegistered`, or `NoMemory` if the queue has registered none itself.
    pub fn unreg_mem_model(&mut self) -> Result<(), RegError> {
        self.must_be_registered()?;
        match self.model.take() {
            Some(Model::Own(registration)) => drop(registration),
            other => {
                self.model = other;
                return Err(RegError::NoMemory);
            }
        }
        Ok(())
    }

    /// Receives into memory that is registered already, as several queues do on one pool (`xdp_rxq_info_attach_page_pool`).
    ///
    /// # Errors
    ///
    /// The look at it, and `NotRegistered` or `HasMemory`.
    pub fn attach(&mut self, mem: MemRef) -> Result<MemInfo, GivenBack<MemRef, RegError>> {
        if let Err(reason) = self.must_take_memory() {
            return Err(GivenBack { buffer: mem, reason });
        }
        let info = mem.info();
        self.model = Some(Model::Attached(mem));
        Ok(info)
    }

    /// Lets go of attached memory, which stays registered (`xdp_rxq_info_detach_mem_model`).
    ///
    /// # Errors
    ///
    /// `NotRegistered`, or `NoMemory` if none is attached.
    pub fn detach(&mut self) -> Result<MemRef, RegError> {
        self.must_be_registered()?;
        match self.model.take() {
            Some(Model::Attached(mem)) => Ok(mem),
            other => {
                self.model = other;
                Err(RegError::NoMemory)
            }
        }
    }

    /// A received packet: `len` bytes in `buffer`, behind `headroom` (`xdp_init_buff`, `xdp_prepare_buff`).
    ///
    /// # Errors
    ///
    /// The buffer, and [`BuffError`]: the queue is not ready, registered other memory, or the packet is not within the buffer.
    #[inline]
    pub fn prepare(
        &self,
        buffer: impl Into<Buffer>,
        headroom: usize,
        len: usize,
    ) -> Result<XdpBuff<'_>, GivenBack<Buffer, BuffError>> {
        let buffer = buffer.into();
        let Some(mem) = self.mem() else {
            return Err(GivenBack { buffer, reason: BuffError::QueueNotReady { state: self.state } });
        };
        if mem.mem_type != buffer.mem_type() {
            let reason = BuffError::WrongType { queue: mem.mem_type, buffer: buffer.mem_type() };
            return Err(GivenBack { buffer, reason });
        }
        let packet = Packet::new(buffer, mem.id, headroom, len)?;
        Ok(XdpBuff::new(self, packet))
    }

    fn must_be_registered(&self) -> Result<(), RegError> {
        if self.is_reg() { Ok(()) } else { Err(RegError::NotRegistered { state: self.state }) }
    }

    fn must_take_memory(&self) -> Result<(), RegError> {
        self.must_be_registered()?;
        self.mem().map_or(Ok(()), |mem| Err(RegError::HasMemory { mem }))
    }
}
