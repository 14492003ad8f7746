//! `pagepool forward`: pool, devices and ports put together, run, and looked at.

use std::fs::{self, File, Metadata};
use std::hint::black_box;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use pp_core::{DmaDirection, Host, PagePool, PoolBuilder, PoolHandle};
use pp_netdev::port::{InPort, OutPort};
use pp_netdev::steer::SteeringTable;
use pp_netdev::{Action, Buffers, DmaWindow, ForwardConfig, ForwardError, Forwarder, Phase, StopFlag};
use pp_provider_buddy::Buddy;
use pp_provider_passthrough::PassThrough;

use crate::afxdp::Interfaces;
use crate::args::{ActionName, ForwardArgs, ProviderName};
use crate::ends::{Sink, Source};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::progress::{Progress, Sight, TICK};
use crate::report::{Alloc, PhaseReport, PoolReport, Recycle, Report};
use crate::sizes::{BAG, CACHE, Sizes};
use crate::{afxdp, signals, table};

/// Who has standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stdout {
    /// Nobody; the report can go there.
    Free,
    /// The packets.
    Taken,
}

/// Runs it, and prints what it did.
///
/// # Errors
///
/// [`Failure`]; nothing was printed then, and no output file was begun that is not whole.
pub(crate) fn run(args: &ForwardArgs) -> Result<(), Failure> {
    // Before the run: a file may have another's place afterwards.
    let taken = packets_on_stdout(&args.output);
    let report = match (&args.input, &args.output) {
        (Some(InPort::Afxdp(from)), OutPort::Afxdp(to)) => {
            let stop = StopFlag::new();
            signals::stop_on_ctrl_c(&stop).map_err(Failure::Signals)?;
            afxdp::run(args, from, to, &stop)?
        }
        _ if args.both => return Err(Failure::BothPorts),
        _ => {
            let sizes = Sizes::new(args)?;
            let plan = Plan::new(args)?;
            forward(args, sizes, &plan)?
        }
    };
    print(args, &report, taken).or_else(|error| match error.kind() {
        // Whoever reads it has read enough.
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::Report(error)),
    })
}

fn forward(args: &ForwardArgs, sizes: Sizes, plan: &Plan) -> Result<Report, Failure> {
    headroom(sizes)?;
    let window = Arc::new(DmaWindow::new(sizes.all_pages(), sizes.page)?);
    let pools = (0..sizes.queues.get())
        .map(|queue| pool(args.provider, sizes, queue, &window))
        .collect::<Result<Vec<_>, _>>()?;
    // What was fetched may have been the last there is.
    headroom(sizes)?;
    let handles: Vec<_> = pools.iter().map(PagePool::handle).collect();

    let stop = StopFlag::new();
    signals::stop_on_ctrl_c(&stop).map_err(Failure::Signals)?;
    let mut config = ForwardConfig::default();
    config.rx_ring = sizes.ring;
    config.tx_ring = sizes.ring;
    config.limit = plan.count;
    config.duration = plan.time;
    config.expected = plan.expected;
    if let Some(split) = sizes.split {
        config.buffers = Buffers::Split(split);
        config.change_to = Some(Buffers::Pages);
    }
    config.observe_every = TICK;
    config.stop = stop;

    // The source first: what is wrong with it should leave no trace where the output would go.
    let mut source = Source::open(args, plan, sizes)?;
    let mut sink = Sink::open(args, plan, sizes)?;
    let states: Vec<_> = source.state().into_iter().chain(sink.state()).collect();
    let mut interfaces = Interfaces::default();
    let action = action(args);
    headroom(sizes)?;
    afxdp::say_notes(args);
    let progress = Progress::new(plan.total());
    let pools = pools.into_iter().map(|pool| (pool, action));
    let forwarder = Forwarder::with_queues(pools, SteeringTable::new(sizes.queues), window, config);
    let result = forwarder.map_err(ForwardError::from)?.run(source.frames(), sink.frames(), |seen| {
        interfaces.look(&states, |sentence| progress.say(sentence));
        let traffic = &seen.traffic;
        progress.show(Sight {
            packets_in: traffic.packets_in,
            packets_out: traffic.packets_out,
            dropped: traffic.dropped,
        });
    });
    progress.finish();
    let mut report = to_report(&result?, &handles);
    source.close_into(&mut report);
    sink.close_into(&mut report);
    Ok(report)
}

/// What becomes of each packet.
pub(crate) fn action(args: &ForwardArgs) -> Action {
    match args.action {
        ActionName::Forward => Action::Forward,
        ActionName::Drop => Action::Drop,
        ActionName::SwapMac => Action::SwapMac,
    }
}

/// The pool of one queue, with the pages that it will need.
fn pool(provider: ProviderName, sizes: Sizes, queue: u16, window: &Arc<DmaWindow>) -> Result<PagePool, Failure> {
    let builder = builder(provider, sizes)?;
    // The pages are there; what describes them is not.
    headroom(sizes)?;
    let mut builder = builder
        .name(&format!("rx{queue}"))
        .pool_size(sizes.pool)
        .cache(CACHE)
        .returners(1, BAG)
        .dma(Arc::clone(window), DmaDirection::Bidirectional);
    if let Some(limit) = sizes.limit {
        builder = builder.limit(limit);
    }
    let mut pool = builder.build()?;
    warm_up(&mut pool, sizes.outside);
    Ok(pool)
}

/// Fetches as many pages as can ever be outside at once, and puts them into the pool. The fullest moment comes by chance,
/// early or late; fetched before, its pages are no figure of the traffic, and what the provider is asked for afterwards is
/// a sign that pages do not come back.
fn warm_up(pool: &mut PagePool<Host>, pages: usize) {
    // Where there are fewer the devices do with fewer.
    let fetched: Vec<_> = std::iter::from_fn(|| pool.alloc().ok()).take(pages).collect();
    for page in fetched {
        pool.recycle_direct(page);
    }
}

/// Whether there is memory for the stacks of the threads, and for what they and this one allocate: asked in time, before
/// and after everything large, because who finds none for something small can only abort.
pub(crate) fn headroom(sizes: Sizes) -> Result<(), Failure> {
    // More than the 32 MiB from which on glibc gives back to the system what it is given back: kept by the allocator, the
    // room would be none for stacks.
    const MIB: usize = 40;
    // Two more threads, each with its stack and the allocator's first page of its own.
    const MIB_A_QUEUE: usize = 8;
    let mib = MIB + MIB_A_QUEUE * usize::from(sizes.queues.get() - 1);
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(mib << 20).map_err(|_| Failure::Headroom { mib })?;
    // Asked for and not used, it might not be asked for.
    black_box(&room);
    Ok(())
}

/// The pool's builder on the provider of that name.
fn builder(provider: ProviderName, sizes: Sizes) -> Result<PoolBuilder<Host>, Failure> {
    Ok(match provider {
        ProviderName::Buddy => {
            let bytes = sizes.pages * sizes.page;
            PagePool::builder(Buddy::builder().unit_bytes(sizes.page).anonymous(bytes).build()?)
        }
        ProviderName::Passthrough => PagePool::builder(PassThrough::with_sizes(sizes.page, 0)?),
    })
}

pub(crate) fn to_report(run: &pp_netdev::Report, handles: &[PoolHandle<Host>]) -> Report {
    let traffic = &run.traffic;
    let page_bytes = handles.first().map_or(0, PoolHandle::page_bytes);
    let pools = run.pools.iter().zip(handles).map(|(pool, handle)| pool_to_report(pool, handle));
    Report {
        packets_in: traffic.packets_in,
        packets_out: traffic.packets_out,
        dropped: traffic.dropped,
        too_long: traffic.rx_length_errors,
        too_short: 0,
        bytes: traffic.bytes_in,
        seconds: run.seconds,
        mpps: mpps(traffic.packets_in, run.seconds),
        phases: run.phases.iter().map(|phase| phase_to_report(phase, page_bytes)).collect(),
        pools: pools.collect(),
        copied_bytes: 0,
        ports: Vec::new(),
        stuck: 0,
    }
}

/// A pool's figures.
pub(crate) fn pool_to_report(pool: &pp_netdev::PoolReport, handle: &PoolHandle<Host>) -> PoolReport {
    let stats = &pool.stats;
    PoolReport {
        id: pool.id as u64,
        name: pool.name.clone(),
        provider: pool.provider.name,
        page_size: handle.page_bytes(),
        inflight: stats.inflight() as u64,
        in_use: pool.in_use as u64,
        kernel_held: pool.kernel_held as u64,
        posted: pool.posted as u64,
        lost: pool.lost as u64,
        limit: handle.limit().map(|limit| limit as u64),
        limit_hits: stats.limit_hits as u64,
        fragmentation_index: pool.provider.fragmentation_index.map(f64::from),
        alloc: Alloc {
            fast: stats.alloc.fast as u64,
            slow: stats.alloc.slow as u64,
            slow_high_order: stats.alloc.slow_high_order as u64,
            empty: stats.alloc.empty as u64,
            refill: stats.alloc.refill as u64,
            waive: stats.alloc.waive as u64,
        },
        recycle: Recycle {
            cached: stats.recycle.cached as u64,
            cache_full: stats.recycle.cache_full as u64,
            ring: stats.recycle.ring as u64,
            ring_full: stats.recycle.ring_full as u64,
            released_refcnt: stats.recycle.released_refcnt as u64,
        },
        recycled_percent: stats.recycled_percent(),
        provider_allocs: stats.hold as u64,
        provider_releases: stats.released as u64,
        provider_allocs_at_10_percent: pool.provider_allocs_at_10_percent.map(|pages| pages as u64),
    }
}

fn phase_to_report(phase: &Phase, page_bytes: usize) -> PhaseReport {
    PhaseReport {
        split: match phase.buffers {
            Buffers::Pages => None,
            Buffers::Split(bytes) => Some(bytes.get()),
        },
        packets: phase.packets,
        seconds: phase.seconds,
        mpps: mpps(phase.packets, phase.seconds),
        most_pages: phase.most_pages as u64,
        most_bytes: (phase.most_pages * page_bytes) as u64,
    }
}

/// Millions of packets a second; none in no time.
fn mpps(packets: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { packets as f64 / seconds / 1e6 } else { 0.0 }
}

/// Whether the packets go where standard output goes, whatever it was called.
fn packets_on_stdout(output: &OutPort) -> Stdout {
    let OutPort::Pcap(file) = output else { return Stdout::Free };
    let identity = |there: Metadata| (there.dev(), there.ino());
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata()).map(identity);
    let [output, null] = [file.as_path(), Path::new("/dev/null")].map(|file| fs::metadata(file).map(identity));
    match (stdout, output, null) {
        // There the two can't get into each other's way.
        (Ok(stdout), _, Ok(null)) if stdout == null => Stdout::Free,
        (Ok(stdout), Ok(output), _) if stdout == output => Stdout::Taken,
        _ => Stdout::Free,
    }
}

/// On standard output, unless the packets go there.
fn print(args: &ForwardArgs, report: &Report, stdout: Stdout) -> io::Result<()> {
    match stdout {
        Stdout::Taken => write(&mut io::stderr().lock(), args, report),
        Stdout::Free => write(&mut io::stdout().lock(), args, report),
    }
}

fn write(out: &mut impl Write, args: &ForwardArgs, report: &Report) -> io::Result<()> {
    if args.json {
        serde_json::to_writer_pretty(&mut *out, report)?;
        writeln!(out)?;
    } else {
        table::write(out, report)?;
    }
    out.flush()
}
