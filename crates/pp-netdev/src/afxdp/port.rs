//! A network interface as a port: its queues, their pools, and the program that brings packets to them.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use pp_core::{Host, Page, PagePool, PoolHandle};
use pp_xdp::af_xdp::{
    AttachMode, BindMode, Buffers, Filter, Interface, Packets, QueueConfig, RedirectProgram, Umem, Wakeups, XskQueue,
};

use super::error::PortError;
use super::state::PortState;
use crate::port::{AfxdpName, Attach, Copies};

/// Queues of a network interface, open: each with a pool of its own, all in one memory.
///
/// # Examples
///
/// ```no_run
/// use pp_core::PagePool;
/// use pp_netdev::afxdp::{AfxdpPort, PortConfig, buffers_for};
/// use pp_netdev::port::AfxdpName;
/// use pp_xdp::af_xdp::Umem;
/// # use pp_core::{Home, doc::Heap};
/// # let memory = Home::new(Heap::new(4096, 16384));
///
/// let umem = Umem::new(memory.clone())?;
/// let name: AfxdpName = "eth0".parse()?;
/// let pools = [PagePool::builder(memory).name("eth0@0").pool_size(4096).build()?]; // one queue
/// let config = PortConfig { buffers: buffers_for(&umem, [&name])?, ..PortConfig::default() };
/// let port = AfxdpPort::open(&umem, &name, pools, &config)?;
/// println!("{} has {} queue", port.name(), port.queues());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AfxdpPort {
    pub(super) name: AfxdpName,
    pub(super) role: Role,
    /// Before the queues: nothing shall come to one that is being closed.
    pub(super) program: Option<RedirectProgram>,
    pub(super) lanes: Vec<(XskQueue, PagePool<Host>)>,
    pub(super) umem: Umem,
    pub(super) interface_queues: Option<u32>,
    pub(super) state: Arc<PortState>,
}

/// What a port is for. See [`AfxdpPort`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Packets come in, and may go out as well: they are taken away from the ordinary stack.
    #[default]
    Receives,
    /// Packets go out. What comes in is the ordinary stack's, as ever: a driver without copies receives that into pages of the port's too, so
    /// some are posted, after as many as its rings have entries were kept for sending.
    Sends,
}

/// How to open a port. See [`AfxdpPort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// What it is for.
    pub role: Role,
    /// Entries of each ring of each queue, a power of two.
    pub entries: u32,
    /// Whether packets may lie in several pages; [`buffers_for`] says whether they have to. Ports of one memory agree.
    pub buffers: Buffers,
    /// How long to wait for a queue that another socket has: one that was closed is not quiet at once.
    pub patience: Duration,
}

impl Default for PortConfig {
    /// Receives, into 2048 entries, a page a packet, half a second of patience.
    fn default() -> Self {
        let QueueConfig { entries, buffers, patience, .. } = QueueConfig::default();
        PortConfig { role: Role::Receives, entries, buffers, patience }
    }
}

/// Whether packets of these interfaces may be longer than a page of that memory has room for, by the MTU that they have now: then ports
/// are to be opened for packets in several pages. See [`AfxdpPort`].
///
/// # Errors
///
/// [`PortError::Open`] if one of them is not there.
pub fn buffers_for<'a>(umem: &Umem, ports: impl IntoIterator<Item = &'a AfxdpName>) -> Result<Buffers, PortError> {
    for name in ports {
        let longest = Interface::by_name(name.interface()).and_then(|interface| interface.longest_frame());
        if longest.map_err(open_error(name))? > umem.packet_bytes() {
            return Ok(Buffers::Several);
        }
    }
    Ok(Buffers::One)
}

fn open_error(name: &AfxdpName) -> impl Fn(pp_xdp::af_xdp::OpenError) -> PortError {
    move |source| PortError::Open { port: name.to_string(), source }
}

// === impl AfxdpPort ===

impl AfxdpPort {
    /// Opens as many queues as there are pools, from the one that is named on, and has their packets come to them.
    ///
    /// # Errors
    ///
    /// [`PortError`]; the interface is as it was then.
    pub fn open(
        umem: &Umem,
        name: &AfxdpName,
        pools: impl IntoIterator<Item = PagePool<Host>>,
        config: &PortConfig,
    ) -> Result<Self, PortError> {
        let interface = Interface::by_name(name.interface()).map_err(open_error(name))?;
        let (first, role) = (name.queue().unwrap_or(0), config.role);
        let mut lanes = Vec::new();
        for (queue, mut pool) in (first..).zip(pools) {
            let config = QueueConfig {
                queue,
                entries: config.entries,
                bind: match name.copies() {
                    Copies::Best => BindMode::Best,
                    Copies::Always => BindMode::Copy,
                    Copies::None => BindMode::ZeroCopy,
                },
                buffers: config.buffers,
                wakeups: Wakeups::WhenNeeded,
                busy_poll: None,
                patience: config.patience,
            };
            // Kept while the queue is filled. Where there are fewer, nothing is left to fill it with.
            let for_sending = match role {
                Role::Receives => 0,
                Role::Sends => config.entries as usize,
            };
            let kept = fetch(&mut pool, for_sending);
            let opened = XskQueue::open(umem, &mut pool, &interface, &config).map_err(open_error(name))?;
            kept.into_iter().for_each(|page| pool.recycle_direct(page));
            lanes.push((opened, pool));
        }
        if lanes.is_empty() {
            return Err(PortError::NoPools { port: name.to_string() });
        }
        let program = match role {
            Role::Receives => Some(attach(name, &interface, config.buffers, first, &lanes)?),
            Role::Sends => None,
        };
        let state = Arc::new(PortState::new(name.interface()));
        let (name, interface_queues) = (name.clone(), interface.queues());
        Ok(AfxdpPort { name, role, program, lanes, umem: umem.clone(), interface_queues, state })
    }

    /// What it was opened by.
    pub fn name(&self) -> &AfxdpName {
        &self.name
    }

    /// How many queues it has.
    pub fn queues(&self) -> usize {
        self.lanes.len()
    }

    /// The pools, one a queue.
    pub fn pools(&self) -> Vec<PoolHandle<Host>> {
        self.lanes.iter().map(|(_, pool)| pool.handle()).collect()
    }

    /// The memory its pages are of.
    pub fn umem(&self) -> &Umem {
        &self.umem
    }

    /// How the interface is, while it is used. See [`AfxdpPort`].
    pub fn state(&self) -> &Arc<PortState> {
        &self.state
    }

    /// Has each pool fetch `pages` from its provider, and keep them in cache and ring: more than that never is on the way, and what the
    /// provider is asked for later is a sign that pages do not come back. See [`AfxdpPort`].
    pub fn warm_up(&mut self, pages: usize) {
        for (_, pool) in &mut self.lanes {
            fetch(pool, pages).into_iter().for_each(|page| pool.recycle_direct(page));
        }
    }
}

/// So many pages, or as many as there are.
fn fetch(pool: &mut PagePool<Host>, pages: usize) -> Vec<Page<Host>> {
    iter::from_fn(|| pool.alloc().ok()).take(pages).collect()
}

/// Has the queues' packets redirected to them.
fn attach(
    name: &AfxdpName,
    interface: &Interface,
    buffers: Buffers,
    first: u32,
    lanes: &[(XskQueue, PagePool<Host>)],
) -> Result<RedirectProgram, PortError> {
    let mode = match name.attach() {
        Attach::Best => AttachMode::Best,
        Attach::Generic => AttachMode::Generic,
        Attach::Native => AttachMode::Native,
    };
    let packets = match buffers {
        Buffers::One => Packets::Whole,
        Buffers::Several => Packets::SeveralBuffers,
    };
    let error = |source| PortError::Program { port: name.to_string(), source };
    let end = first.saturating_add(lanes.len() as u32);
    let program = RedirectProgram::attach(interface.index(), mode, &Filter::new(), packets, end).map_err(error)?;
    for (queue, (opened, _)) in (first..).zip(lanes) {
        program.map().insert(queue, opened).map_err(error)?;
    }
    Ok(program)
}
