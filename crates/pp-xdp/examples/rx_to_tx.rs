//! Packets from one interface out of another and back, as they are: `rx_to_tx IFACE IFACE`, as root.

use pp_core::PagePool;
use pp_provider_buddy::Buddy;
use pp_xdp::af_xdp::{AttachMode, Filter, Interface, Packets, QueueConfig, RedirectProgram, Umem, WakeError, XskQueue};
use rustix::event::{PollFd, PollFlags, poll};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let memory = Buddy::anonymous(32 << 20)?;
    let umem = Umem::new(&memory)?; // one memory for both interfaces: packets move and are not copied
    let open = |name: String| -> Result<_, Box<dyn core::error::Error>> {
        let interface = Interface::by_name(&name)?;
        let mut pool = PagePool::builder(&memory).name(&name).pool_size(4096).build()?;
        let queue = XskQueue::open(&umem, &mut pool, &interface, &QueueConfig::default())?;
        let program = RedirectProgram::attach(interface.index(), AttachMode::Best, &Filter::new(), Packets::Whole, 1)?;
        program.map().insert(0, &queue)?;
        Ok((queue, pool, program))
    };
    let mut names = std::env::args().skip(1);
    let (a, b) = names.next().zip(names.next()).ok_or("usage: rx_to_tx IFACE IFACE")?;
    let (mut a, mut b) = (open(a)?, open(b)?);
    loop {
        poll(&mut [PollFd::new(&a.0, PollFlags::IN), PollFd::new(&b.0, PollFlags::IN)], None)?;
        forward(&mut a.0, &mut a.1, &mut b.0)?;
        forward(&mut b.0, &mut b.1, &mut a.0)?;
    }
}

fn forward(from: &mut XskQueue, pool: &mut PagePool, to: &mut XskQueue) -> Result<(), WakeError> {
    for packet in from.rx.receive(64) {
        let _ = to.tx.send(packet); // a full ring gives it back, and it is dropped: home to its pool
    }
    to.tx.flush()?;
    to.tx.complete_into(pool);
    let _ = from.rx.refill(pool); // no page just now: the next round has some
    Ok(())
}
