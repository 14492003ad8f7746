//! A few instruction words of eBPF, put together by hand: the programs here are short enough to be read in full.

use std::mem;
use std::os::fd::RawFd;

/// One instruction as the kernel reads it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Word {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register. `R0` is what calls and the program return, `R1` to `R5` are arguments and do not survive a call, `R6` to `R9`
/// do, `FP` is the end of the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R6 = 6,
    R7,
    R8,
    FP = 10,
}

/// How wide a load or a store is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    Two = 0x08,
    Four = 0x00,
    Eight = 0x18,
}

/// When a jump is taken; unsigned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum If {
    Equal = 0x10,
    Greater = 0x20,
    NotEqual = 0x50,
}

/// The kernel's functions that the programs call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Helper {
    LookUp = 1,
    Redirect = 23,
    /// Of a packet with all its buffers. Linux 5.18.
    BufferLength = 188,
}

/// What an XDP program returns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    Aborted,
    Drop,
    Pass,
}

/// A jump whose target is not yet known.
#[derive(Debug)]
#[must_use]
pub(crate) struct Jump(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembler(Vec<Word>);

/// Classes and modifiers of the first byte.
const LD_IMM64: u8 = 0x18;
const LOAD: u8 = 0x61;
const STORE_IMMEDIATE: u8 = 0x62;
const STORE: u8 = 0x63;
const ATOMIC_64: u8 = 0xdb;
const ADD_IMMEDIATE: u8 = 0x07;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const JUMP: u8 = 0x05;
const JUMP_32: u8 = 0x06;
const BY_REGISTER: u8 = 0x08;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The source of an `LD_IMM64` whose immediate is a map's descriptor.
const IS_MAP: u8 = 1;
const FETCH_ADD: i32 = 0x01;

impl Assembler {
    pub(crate) fn new() -> Self {
        Assembler::default()
    }

    /// The whole program that lets every packet go on.
    pub(crate) fn pass(mut self) -> Vec<Word> {
        self.end(Verdict::Pass);
        self.finish()
    }

    pub(crate) fn finish(self) -> Vec<Word> {
        self.0
    }

    /// `to = from`
    pub(crate) fn copy(&mut self, to: Reg, from: Reg) {
        self.push(MOVE, to as u8, from as u8, 0, 0);
    }

    /// `to = value`
    pub(crate) fn set(&mut self, to: Reg, value: i32) {
        self.push(MOVE_IMMEDIATE, to as u8, 0, 0, value);
    }

    /// `to += value`
    pub(crate) fn add(&mut self, to: Reg, value: i32) {
        self.push(ADD_IMMEDIATE, to as u8, 0, 0, value);
    }

    /// `to = *(from + offset)`
    pub(crate) fn load(&mut self, width: Width, to: Reg, from: Reg, offset: i16) {
        self.push(LOAD | width as u8, to as u8, from as u8, offset, 0);
    }

    /// `*(to + offset) = from`
    pub(crate) fn store(&mut self, width: Width, to: Reg, offset: i16, from: Reg) {
        self.push(STORE | width as u8, to as u8, from as u8, offset, 0);
    }

    /// `*(to + offset) = value`
    pub(crate) fn store_value(&mut self, width: Width, to: Reg, offset: i16, value: i32) {
        self.push(STORE_IMMEDIATE | width as u8, to as u8, 0, offset, value);
    }

    /// `*(to + offset) += with`, eight bytes, atomically; `with` becomes what was there before.
    pub(crate) fn fetch_add(&mut self, to: Reg, offset: i16, with: Reg) {
        self.push(ATOMIC_64, to as u8, with as u8, offset, FETCH_ADD);
    }

    /// The same without asking what was there before.
    pub(crate) fn atomic_add(&mut self, to: Reg, offset: i16, with: Reg) {
        self.push(ATOMIC_64, to as u8, with as u8, offset, 0);
    }

    /// `R0` = the address of the map's only value, or 0. Spends four bytes of stack.
    pub(crate) fn look_up(&mut self, map: RawFd) {
        self.store_value(Width::Four, Reg::FP, -4, 0);
        self.push(LD_IMM64, Reg::R1 as u8, IS_MAP, 0, map);
        self.push(0, 0, 0, 0, 0);
        self.copy(Reg::R2, Reg::FP);
        self.add(Reg::R2, -4);
        self.call(Helper::LookUp);
    }

    pub(crate) fn call(&mut self, helper: Helper) {
        self.push(CALL, 0, 0, 0, helper as i32);
    }

    /// Jumps if `left` is so compared with `right`.
    pub(crate) fn jump_if(&mut self, left: Reg, when: If, right: Reg) -> Jump {
        self.push(JUMP | BY_REGISTER | when as u8, left as u8, right as u8, 0, 0);
        Jump(self.0.len())
    }

    /// The same with a constant, and the lower halves of both.
    pub(crate) fn jump_if_value(&mut self, left: Reg, when: If, right: i32) -> Jump {
        self.push(JUMP_32 | when as u8, left as u8, 0, 0, right);
        Jump(self.0.len())
    }

    /// The same for an address that may be 0.
    pub(crate) fn jump_if_null(&mut self, left: Reg) -> Jump {
        self.push(JUMP | If::Equal as u8, left as u8, 0, 0, 0);
        Jump(self.0.len())
    }

    /// Has the jump go to the next instruction.
    pub(crate) fn land(&mut self, jump: Jump) {
        let distance = self.0.len() - jump.0;
        // No program here comes near the 32767 words that a jump can pass over.
        self.0[jump.0 - 1].offset = i16::try_from(distance).unwrap_or(i16::MAX);
    }

    /// Returns `R0`.
    pub(crate) fn exit(&mut self) {
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// Returns the verdict.
    pub(crate) fn end(&mut self, verdict: Verdict) {
        self.set(Reg::R0, verdict as i32);
        self.exit();
    }

    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        // Two bit fields, in the machine's order.
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        self.0.push(Word { code, registers, offset, immediate });
    }
}

const _: () = assert!(mem::size_of::<Word>() == 8);
