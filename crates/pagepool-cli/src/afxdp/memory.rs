//! What AF_XDP ports receive into.

use pp_core::PagePool;
use pp_netdev::afxdp::{AfxdpPort, PortConfig, PortError, Role};
use pp_netdev::port::AfxdpName;
use pp_provider_buddy::Buddy;
use pp_xdp::af_xdp::{Buffers, Umem};

use crate::args::{ForwardArgs, UmemName};
use crate::failure::Failure;
use crate::forward::headroom;
use crate::sizes::{CACHE, Sizes};

/// One memory for all ports, or one for each.
#[derive(Debug)]
pub(super) struct Memories {
    first: (Buddy, Umem),
    others: Vec<(Buddy, Umem)>,
    sizes: Sizes,
}

// === impl Memories ===

impl Memories {
    /// For so many ports.
    pub(super) fn new(args: &ForwardArgs, sizes: Sizes, ports: usize) -> Result<Self, Failure> {
        let memory = |ports: usize| -> Result<_, Failure> {
            let bytes = ports * sizes.all_pages() * sizes.page;
            let buddy = Buddy::builder().unit_bytes(sizes.page).anonymous(bytes).build()?;
            let umem = Umem::new(&buddy).map_err(PortError::from)?;
            headroom(sizes)?;
            Ok((buddy, umem))
        };
        Ok(match args.umem {
            UmemName::Shared => Memories { first: memory(ports)?, others: Vec::new(), sizes },
            UmemName::Separate => {
                let others = (1..ports).map(|_| memory(1)).collect::<Result<_, _>>()?;
                Memories { first: memory(1)?, others, sizes }
            }
        })
    }

    /// The first port's.
    pub(super) fn first(&self) -> &Umem {
        &self.first.1
    }

    /// Opens port number `at` for `role`, whose packets may need several `buffers`, with a pool for each queue that has the pages it
    /// will need.
    pub(super) fn port(&self, name: &AfxdpName, at: usize, buffers: Buffers, role: Role) -> Result<AfxdpPort, Failure> {
        let Memories { first, others, sizes } = self;
        let (buddy, umem) = at.checked_sub(1).and_then(|at| others.get(at)).unwrap_or(first);
        let queues = name.queue().unwrap_or(0)..;
        let pools = queues.take(usize::from(sizes.queues.get())).map(|queue| {
            let mut builder = PagePool::builder(buddy)
                .name(&format!("{}@{queue}", name.interface()))
                .pool_size(sizes.pool)
                .cache(CACHE);
            if let Some(limit) = sizes.limit {
                builder = builder.limit(limit);
            }
            builder.build()
        });
        let pools = pools.collect::<Result<Vec<_>, _>>()?;
        let config = PortConfig { role, entries: sizes.ring.get(), buffers, ..PortConfig::default() };
        let mut port = AfxdpPort::open(umem, name, pools, &config)?;
        port.warm_up(sizes.outside);
        Ok(port)
    }
}
