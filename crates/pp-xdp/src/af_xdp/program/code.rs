//! The program of a filter: from [`Filter`] to instructions.
//!
//! Each step asks first whether the packet is that long, because the kernel loads no program that might read behind it. What
//! is in the packet is compared as it lies there; it is the constants that are turned round.

use alloc::vec::Vec;
use std::os::fd::BorrowedFd;

use super::asm::{Assembler, Insn, Label, Reg, Size, When};
use super::filter::{ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, Filter, Transport};

/// What becomes of a packet that the filter takes. The others get [`XDP_PASS`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken<'a> {
    /// To the socket at its queue's place in this map, or [`XDP_PASS`] if there is none.
    Redirect(BorrowedFd<'a>),
    /// This verdict: for tests, which have no sockets.
    #[cfg(test)]
    Verdict(i32),
}

/// Up the ordinary stack.
pub(super) const XDP_PASS: i32 = 2;

// Where a program finds things in its only argument, `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE_INDEX: i16 = 16;

/// `bpf_redirect_map(map, key, flags)`; the low bits of its flags are what it returns when the map has nothing there.
const REDIRECT_MAP: i32 = 51;

/// Words in a header of IPv4 without options.
const SHORTEST_IPV4: i32 = 5;

// What the registers hold. R0 to R2 change from step to step.
/// The program's argument; a call leaves it alone.
const CONTEXT: Reg = Reg::R6;
/// Where the packet ends.
const END: Reg = Reg::R3;
/// The header that is looked at.
const HEADER: Reg = Reg::R4;
/// What kind of header that is: an Ethernet type, then IP's number of a protocol.
const KIND: Reg = Reg::R5;

/// The program.
pub(super) fn program(filter: &Filter, taken: Taken<'_>) -> Vec<Insn> {
    let mut asm = Assembler::default();
    let (take, pass) = (asm.label(), asm.label());
    asm.copy(CONTEXT, Reg::R1);
    if !filter.takes_all() {
        look(&mut asm, filter, take, pass);
    }
    asm.place(take);
    match taken {
        Taken::Redirect(map) => {
            asm.load_map(Reg::R1, map);
            asm.load(Size::Word, Reg::R2, CONTEXT, RX_QUEUE_INDEX);
            asm.set(Reg::R3, XDP_PASS);
            asm.call(REDIRECT_MAP);
        }
        #[cfg(test)]
        Taken::Verdict(verdict) => asm.set(Reg::R0, verdict),
    }
    asm.exit();
    if !filter.takes_all() {
        // The kernel also refuses instructions that nothing leads to.
        asm.place(pass);
        asm.set(Reg::R0, XDP_PASS);
        asm.exit();
    }
    asm.finish()
}

/// Goes to one of the two.
fn look(asm: &mut Assembler, filter: &Filter, take: Label, pass: Label) {
    let types = filter.ether_types();
    let (udp, tcp) = (filter.ports(Transport::Udp), filter.ports(Transport::Tcp));
    let untagged = asm.label();

    asm.load(Size::Word, HEADER, CONTEXT, DATA);
    asm.load(Size::Word, END, CONTEXT, DATA_END);
    need(asm, 14, pass);
    asm.load(Size::Half, KIND, HEADER, 12);
    asm.add(HEADER, 14);
    one_of(asm, KIND, &types, take);
    asm.jump_if(When::NotEqual, KIND, swapped(ETH_P_8021Q), untagged);
    need(asm, 4, pass);
    asm.load(Size::Half, KIND, HEADER, 2);
    asm.add(HEADER, 4);
    one_of(asm, KIND, &types, take);
    asm.place(untagged);

    if !udp.is_empty() || !tcp.is_empty() {
        transport(asm, pass);
        for (protocol, ports) in [(Transport::Udp, &udp), (Transport::Tcp, &tcp)] {
            let other = asm.label();
            asm.jump_if(When::NotEqual, KIND, i32::from(protocol.number()), other);
            need(asm, 4, pass);
            asm.load(Size::Half, Reg::R0, HEADER, 2);
            one_of(asm, Reg::R0, ports, take);
            asm.jump(pass);
            asm.place(other);
        }
    }
    asm.jump(pass);
}

/// From the header of a network to that of a transport, or to `pass`.
fn transport(asm: &mut Assembler, pass: Label) {
    let (ipv4, found) = (asm.label(), asm.label());
    asm.jump_if(When::Equal, KIND, swapped(ETH_P_IP), ipv4);
    asm.jump_if(When::NotEqual, KIND, swapped(ETH_P_IPV6), pass);

    need(asm, 40, pass);
    version(asm, 6, pass);
    asm.load(Size::Byte, KIND, HEADER, 6);
    asm.add(HEADER, 40);
    asm.jump(found);

    asm.place(ipv4);
    need(asm, 20, pass);
    version(asm, 4, pass);
    // A fragment that is not the first has no ports; its offset is the lower 13 bits.
    asm.load(Size::Half, Reg::R1, HEADER, 6);
    asm.and(Reg::R1, swapped(0x1fff));
    asm.jump_if(When::NotEqual, Reg::R1, 0, pass);
    asm.load(Size::Byte, KIND, HEADER, 9);
    // R0 is the byte with the length in words. The addresses in packets may be added to only what is known before the program
    // runs, unless CAP_PERFMON is among the rights of whoever loads it; so each length has a line.
    asm.and(Reg::R0, 15);
    asm.add(HEADER, 4 * SHORTEST_IPV4);
    for words in SHORTEST_IPV4..=15 {
        asm.jump_if(When::Equal, Reg::R0, words, found);
        asm.add(HEADER, 4);
    }
    asm.jump(pass);
    asm.place(found);
}

/// To `pass` unless the header is of this version of IP. Leaves its first byte in R0.
fn version(asm: &mut Assembler, version: i32, pass: Label) {
    asm.load(Size::Byte, Reg::R0, HEADER, 0);
    asm.copy(Reg::R1, Reg::R0);
    asm.shift_right(Reg::R1, 4);
    asm.jump_if(When::NotEqual, Reg::R1, version, pass);
}

/// To `pass` unless `bytes` of the packet are at the header.
fn need(asm: &mut Assembler, bytes: i32, pass: Label) {
    asm.copy(Reg::R2, HEADER);
    asm.add(Reg::R2, bytes);
    asm.jump_if_behind(Reg::R2, END, pass);
}

/// To `take` if the register, filled from the packet, is one of `numbers`.
fn one_of<'a>(asm: &mut Assembler, register: Reg, numbers: impl IntoIterator<Item = &'a u16>, take: Label) {
    for &number in numbers {
        asm.jump_if(When::Equal, register, swapped(number), take);
    }
}

/// What a register holds after a load of two bytes that the network sends as `number`.
const fn swapped(number: u16) -> i32 {
    number.to_be() as i32
}
