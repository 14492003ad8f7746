//! Bad input: each refusal says why and gives the buffer back as it was.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use common::{Store, frame, pool, queue};
use pp_core::{AllocError, DmaAddr, GivenBack, Home, PagePool};
use pp_xdp::{
    AdjustError, BuffError, Buffer, ConvertError, FragError, LookupError, MAX_FRAGS, MemType, Memory, Order0Pages,
    PoolFrags, Registry, RxqInfo, RxqParams, RxqState, UserBuffer, XskBuffPool, return_buff, return_frag,
};

/// A page with a mark in it, by which it is known when it comes back.
fn marked(memory: &mut impl Memory, mark: u8) -> Buffer {
    let mut buffer = memory.alloc().expect("a buffer");
    buffer.bytes_mut().expect("host memory").fill(mark);
    buffer
}

fn is_marked(buffer: &Buffer, mark: u8) -> bool {
    buffer.bytes().is_some_and(|bytes| !bytes.is_empty() && bytes.iter().all(|byte| *byte == mark))
}

#[test]
fn a_queue_that_is_not_ready_gives_the_buffer_back() {
    let (home, mut pool) = pool(8);
    let mut rxq = RxqInfo::new();
    let refused = rxq.prepare(marked(&mut pool, 1), 256, 60).unwrap_err();
    assert_eq!(refused.reason, BuffError::QueueNotReady { state: RxqState::New });
    assert!(is_marked(&refused.buffer, 1));
    rxq.reg(RxqParams::new(1, 0)).unwrap();
    let refused = rxq.prepare(refused.buffer, 256, 60).unwrap_err();
    assert_eq!(refused.reason, BuffError::QueueNotReady { state: RxqState::Registered });
    rxq.reg_mem_model(&Registry::new(), pool.model()).unwrap();
    let buff = rxq.prepare(refused.buffer, 256, 60).unwrap();
    assert_eq!(buff.data().unwrap(), [1; 60]);
    return_buff(buff, &mut pool);
    assert_eq!(pool.stats().in_use(), 0);
    drop(pool);
    assert_eq!(home.out(), 0);
}

#[test]
fn memory_of_another_type_is_given_back() {
    // Kernel: `xdp_return_frame` on raw buffers and with the wrong type.
    let home = Home::new(Store::host(4096, 64));
    let mut order0 = Order0Pages::new(home.clone(), 4).unwrap();
    let mut pool = PagePool::builder(home.clone()).build().unwrap();
    let rxq = queue(&Registry::new(), &pool);
    let GivenBack { buffer, reason } = rxq.prepare(marked(&mut order0, 2), 0, 60).unwrap_err();
    assert_eq!(reason, BuffError::WrongType { queue: MemType::PagePool, buffer: MemType::PageOrder0 });
    assert!(is_marked(&buffer, 2));

    let mut buff = rxq.prepare(pool.alloc().unwrap(), 256, 60).unwrap();
    let GivenBack { buffer, reason } = buff.add_frag(buffer, 0, 60).unwrap_err();
    assert_eq!(reason, FragError::WrongType { packet: MemType::PagePool, buffer: MemType::PageOrder0 });
    assert!(is_marked(&buffer, 2));
    assert_eq!((buff.len(), buff.frags().len()), (60, 0));
    return_frag(buffer, &mut order0);
}

#[test]
fn lengths_beyond_the_buffer_give_it_back() {
    let (_home, mut pool) = pool(8);
    let rxq = queue(&Registry::new(), &pool);
    let mut buffer = marked(&mut pool, 3);
    let hostile =
        [(0, 4097), (4097, 0), (4096, 1), (256, 3841), (usize::MAX, 1), (1, usize::MAX), (usize::MAX, usize::MAX)];
    for (headroom, len) in hostile {
        let refused = rxq.prepare(buffer, headroom, len).unwrap_err();
        assert_eq!(refused.reason, BuffError::OutOfRange { headroom, len, buffer_bytes: 4096 });
        assert!(is_marked(&refused.buffer, 3));
        buffer = refused.buffer;
    }
    let mut buff = rxq.prepare(buffer, 4096, 0).unwrap();
    let mut frag = marked(&mut pool, 4);
    for (offset, len) in hostile.into_iter().chain([(0, 0), (10, 0)]) {
        let refused = buff.add_frag(frag, offset, len).unwrap_err();
        assert_eq!(refused.reason, FragError::OutOfRange { offset, len, buffer_bytes: 4096 });
        assert!(is_marked(&refused.buffer, 4));
        frag = refused.buffer;
    }
    assert_eq!((buff.len(), buff.frags().len()), (0, 0));
    drop((buff, frag));
    assert_eq!(pool.stats().in_use(), 0);
}

#[test]
fn the_eighteenth_fragment_is_given_back_unless_it_is_a_neighbour() {
    let (_home, pool) = pool(64);
    let mut frags = PoolFrags::new(pool, 1024).unwrap();
    let rxq = queue(&Registry::new(), &frags);
    let mut buff = rxq.prepare(frags.alloc().unwrap(), 0, 1024).unwrap();
    // Every second one, so that none is the neighbour of the one before.
    let mut left_out = Vec::new();
    for number in 1..=MAX_FRAGS {
        left_out.push(frags.alloc().unwrap());
        buff.add_frag(frags.alloc().unwrap(), 0, 1024).unwrap();
        assert_eq!(
            (buff.frags().len(), buff.len(), buff.truesize()),
            (number, (number + 1) * 1024, (number + 1) * 1024)
        );
    }
    let next = frags.alloc().unwrap();
    let mut apart = frags.alloc().unwrap();
    apart.bytes_mut().unwrap().fill(5);
    let refused = buff.add_frag(apart, 0, 1024).unwrap_err();
    assert_eq!(refused.reason, FragError::TooMany);
    assert!(is_marked(&refused.buffer, 5));
    // Fragments are cut in order, four to a page, and the last one added was its page's third.
    buff.add_frag(next, 0, 1024).unwrap();
    assert_eq!((buff.frags().len(), buff.frags()[MAX_FRAGS - 1].len()), (MAX_FRAGS, 2048));
    drop((buff, refused, left_out));
    drop(rxq);
    assert_eq!(frags.pool().stats().in_use(), 1, "the one that is cut from");
}

#[test]
fn a_chunk_becomes_a_frame_by_copy_only_if_it_fits() {
    let home = Home::new(Store::host(4096, 64));
    let mut xsk = XskBuffPool::new(home.clone(), 4096, 8).unwrap();
    let mut pages = Order0Pages::new(home.clone(), 8).unwrap();
    let small = Home::new(Store::host(2048, 2));
    let mut small_pages = Order0Pages::new(small.clone(), 2).unwrap();
    let rxq = queue(&Registry::new(), &xsk);
    let mut buff = rxq.prepare(marked(&mut xsk, 6), 256, 2041).unwrap();
    buff.adjust_meta(-8).unwrap();
    buff.meta_mut().unwrap().fill(7);

    let refused = buff.into_frame().unwrap_err();
    assert_eq!(refused.reason, ConvertError::NeedsCopy);
    let refused = refused.buffer.copy_into_frame(&mut small_pages).unwrap_err();
    assert_eq!(refused.reason, ConvertError::TooLong { bytes: 2049, page_bytes: 2048 });
    let mut buff = refused.buffer;
    assert_eq!((buff.len(), buff.meta(), small.out()), (2041, Some(&[7; 8][..]), 0), "as it was, and no page taken");
    buff.adjust_tail(-1).unwrap();

    // It fits to the byte, but there is no page.
    let all: Vec<_> = [small_pages.page().unwrap(), small_pages.page().unwrap()].into();
    let refused = buff.copy_into_frame(&mut small_pages).unwrap_err();
    assert_eq!(refused.reason, ConvertError::Alloc(AllocError::OutOfMemory));
    drop(all);
    let chunks_free = |xsk: &mut XskBuffPool| {
        let free: Vec<_> = core::iter::from_fn(|| xsk.chunk().ok()).collect();
        free.len()
    };
    assert_eq!(chunks_free(&mut xsk), 7, "the chunk is the packet's");
    let frame = refused.buffer.copy_into_frame(&mut small_pages).unwrap();
    assert_eq!(chunks_free(&mut xsk), 8, "and free once the frame is there");
    assert_eq!((frame.mem().mem_type, frame.mem().id), (MemType::PageOrder0, None));
    assert_eq!((frame.headroom(), frame.tailroom(), frame.meta()), (0, 0, Some(&[7; 8][..])));
    assert_eq!(frame.data().unwrap(), [6; 2040]);
    drop(frame);

    // Of several chunks, all of it.
    let mut buff = rxq.prepare(marked(&mut xsk, 8), 256, 100).unwrap();
    buff.add_frag(marked(&mut xsk, 9), 1000, 50).unwrap();
    let frame = buff.copy_into_frame(&mut pages).unwrap();
    assert_eq!((frame.len(), frame.frags().len(), chunks_free(&mut xsk)), (150, 0, 8));
    assert_eq!(frame.data().unwrap(), [[8; 100].as_slice(), &[9; 50]].concat());
}

#[test]
fn device_memory_is_moved_but_not_read() {
    let home = Home::new(Store::device(4096, 8));
    let mut pool = PagePool::builder(home.clone()).build().unwrap();
    let mut pages = Order0Pages::new(Home::new(Store::host(4096, 4)), 4).unwrap();
    let rxq = queue(&Registry::new(), &pool);
    let mut buff = rxq.prepare(pool.alloc().unwrap(), 256, 100).unwrap();
    let first = buff.dma_addr().unwrap();
    buff.adjust_head(-14).unwrap();
    assert_eq!((buff.dma_addr().unwrap().0 + 14, buff.len(), buff.data(), buff.meta()), (first.0, 114, None, None));
    buff.adjust_tail(-50).unwrap();
    assert_eq!(buff.adjust_tail(1), Err(AdjustError::Unreadable), "nobody can clear what it would grow by");
    assert_eq!(buff.adjust_meta(-4), Err(AdjustError::Unreadable));
    assert_eq!((buff.len(), buff.meta_len(), buff.is_readable()), (64, 0, false));
    assert!(buff.load_bytes(0, &mut [0; 10]).is_err());
    let refused = buff.copy_into_frame(&mut pages).unwrap_err();
    assert_eq!((refused.reason, refused.buffer.len()), (ConvertError::Unreadable, 64));
    return_buff(refused.buffer, &mut pool);
    assert_eq!(pool.stats().recycle.cached, 1);
}

#[test]
fn a_frame_whose_allocator_has_gone_is_given_back() {
    let registry = Registry::new();
    let (home, mut pool) = pool(8);
    let mut rxq = queue(&registry, &pool);
    let id = rxq.mem().unwrap().id.unwrap();
    let (one, two) = (frame(&rxq, &mut pool, 60, 1), frame(&rxq, &mut pool, 60, 2));
    registry.return_frame(one).unwrap();
    assert_eq!(pool.stats().recycle.ring, 1);

    let looked = registry.lookup(id).unwrap();
    rxq.unreg().unwrap();
    let refused = registry.return_frame(two).unwrap_err();
    assert_eq!((refused.reason, refused.buffer.data().unwrap()), (LookupError::Leaving { id }, &[2; 60][..]));
    drop((looked, pool));
    let refused = registry.return_frame(refused.buffer).unwrap_err();
    assert_eq!(refused.reason, LookupError::Unknown { id });
    // It finds its way all the same.
    assert_eq!(home.out(), 1);
    drop(refused);
    assert_eq!(home.out(), 0);

    // What has no id needs nobody to be there.
    let mut order0 = Order0Pages::new(home.clone(), 4).unwrap();
    let mut rxq = RxqInfo::new();
    rxq.reg(RxqParams::new(1, 0)).unwrap();
    rxq.reg_mem_model(&registry, pp_xdp::MemModel::without_allocator(MemType::PageOrder0)).unwrap();
    registry.return_frame(frame(&rxq, &mut order0, 60, 3)).unwrap();
}

/// A buffer that lies about its length.
struct Shrinking(Vec<u8>);

impl UserBuffer for Shrinking {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        // From now on it is 10 bytes long.
        self.0.truncate(10);
        &mut self.0
    }
    fn give_back(self: Box<Self>) {}
}

#[test]
fn a_users_buffer_that_shrinks_does_no_harm() {
    let mut rxq = RxqInfo::new();
    rxq.reg(RxqParams::new(1, 0)).unwrap();
    rxq.reg_mem_model(&Registry::new(), pp_xdp::MemModel::without_allocator(MemType::User)).unwrap();
    let buffer = || Buffer::from(Box::new(Shrinking(vec![1; 2048])));
    let mut buff = rxq.prepare(buffer(), 256, 1000).unwrap();
    buff.add_frag(buffer(), 0, 2000).unwrap();
    buff.adjust_meta(-8).unwrap();
    assert_eq!(buff.data_mut().unwrap(), []);
    assert_eq!(buff.frags_mut()[0].data_mut().unwrap(), []);
    assert_eq!(
        (buff.data().unwrap(), buff.meta().unwrap(), buff.frags()[0].data().unwrap()),
        (&[][..], &[][..], &[][..])
    );
    assert_eq!((buff.frags()[0].tailroom(), buff.adjust_head(10)), (0, Err(AdjustError::Unreadable)));
    assert!(buff.load_bytes(0, &mut [0; 10]).is_err());
    let mut pages = Order0Pages::new(Home::new(Store::host(4096, 4)), 4).unwrap();
    assert_eq!(buff.copy_into_frame(&mut pages).unwrap_err().reason, ConvertError::Unreadable);
    let mut buff = rxq.prepare(buffer(), 256, 1000).unwrap();
    assert_eq!((buff.adjust_tail(10), buff.len()), (Err(AdjustError::Unreadable), 1000));
}

/// Says that it lies at the end of all addresses, and that nobody may write it.
struct Boasting(&'static [u8]);

impl UserBuffer for Boasting {
    fn bytes(&self) -> &[u8] {
        self.0
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut []
    }
    fn dma_addr(&self) -> Option<DmaAddr> {
        Some(DmaAddr(u64::MAX - 10))
    }
    fn give_back(self: Box<Self>) {}
}

#[test]
fn a_users_buffer_that_boasts_does_no_harm() {
    let mut rxq = RxqInfo::new();
    rxq.reg(RxqParams::new(1, 0)).unwrap();
    rxq.reg_mem_model(&Registry::new(), pp_xdp::MemModel::without_allocator(MemType::User)).unwrap();
    let bytes: &'static [u8] = Box::leak(vec![1; 4096].into_boxed_slice());
    let mut buff = rxq.prepare(Box::new(Boasting(bytes)), 256, 1000).unwrap();
    buff.add_frag(Box::new(Boasting(bytes)), 100, 2000).unwrap();
    assert_eq!((buff.dma_addr(), buff.frags()[0].dma_addr()), (None, None), "such addresses there are not");
    assert_eq!(buff.adjust_tail(1), Err(AdjustError::Unreadable));
    assert_eq!((buff.len(), buff.truesize()), (3000, 8192));
}

#[test]
fn errors_say_what_to_do() {
    let texts = [
        BuffError::QueueNotReady { state: RxqState::New }.to_string(),
        BuffError::WrongType { queue: MemType::User, buffer: MemType::Device }.to_string(),
        BuffError::OutOfRange { headroom: 1, len: 2, buffer_bytes: 2 }.to_string(),
        FragError::WrongType { packet: MemType::User, buffer: MemType::Device }.to_string(),
        FragError::OutOfRange { offset: 1, len: 2, buffer_bytes: 2 }.to_string(),
        FragError::TooMany.to_string(),
        FragError::NoMemory.to_string(),
        AdjustError::NoHeadroom { delta: -1, headroom: 0 }.to_string(),
        AdjustError::NoTailroom { delta: 1, tailroom: 0 }.to_string(),
        AdjustError::TooShort { delta: 1, len: 14 }.to_string(),
        AdjustError::MetaOutOfRange { delta: 1, headroom: 0, meta_len: 0 }.to_string(),
        AdjustError::MetaLength { len: 3 }.to_string(),
        AdjustError::Unreadable.to_string(),
        ConvertError::NeedsCopy.to_string(),
        ConvertError::TooLong { bytes: 2, page_bytes: 1 }.to_string(),
        ConvertError::Unreadable.to_string(),
        ConvertError::Alloc(AllocError::OutOfMemory).to_string(),
    ];
    assert!(texts.iter().all(|text| text.contains([';', ':'])), "{texts:?}");
}
