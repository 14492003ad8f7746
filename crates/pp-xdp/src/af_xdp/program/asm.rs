//! An assembler for the few eBPF instructions that a filter needs.
//!
//! [`Assembler`] collects [`Insn`]s, whose jumps name [`Label`]s; [`Assembler::finish`] puts the distances in. The numbers are
//! those of the instruction set's standard, RFC 9669.

use alloc::vec::Vec;
use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction, as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Insn {
    /// Operation, class, and whether the operand is a register.
    code: u8,
    /// Destination and source, four bits each.
    registers: u8,
    /// Of a load: bytes from the source's address. Of a jump: instructions to skip.
    offset: i16,
    /// The operand that is part of the instruction.
    immediate: i32,
}

const _: () = assert!(size_of::<Insn>() == 8);

/// A register. A call takes its arguments in R1 to R5, and gives its result in R0; R6 to R9 are as before afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
}

/// How much a load takes from memory; the rest of the register becomes zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
}

/// When a jump against an immediate is taken. All 64 bits are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum When {
    Equal = 0x10,
    NotEqual = 0x50,
}

/// A place that is jumped to. Only of use with the assembler that made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// Collects instructions.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    insns: Vec<Insn>,
    /// By label: the instruction that it stands before, once that is known.
    places: Vec<Option<usize>>,
    /// Which instruction jumps where.
    jumps: Vec<(usize, Label)>,
}

// Classes and modes, of which the codes below are sums.
const LD_IMM64: u8 = 0x18;
const LDX_MEM: u8 = 0x61;
const ALU64: u8 = 0x07;
const JMP: u8 = 0x05;
const FROM_REGISTER: u8 = 0x08;

/// In the source's place of [`LD_IMM64`]: the immediate is the descriptor of a map.
const PSEUDO_MAP_FD: u8 = 1;

// === impl Insn ===

impl Insn {
    const fn new(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Self {
        // Two bit fields of C, whose order follows the machine's byte order.
        let registers = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
        Insn { code, registers, offset, immediate }
    }
}

// === impl Assembler ===

impl Assembler {
    /// A label, to be [placed](Self::place) once.
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The next instruction is where `label` is.
    pub(super) fn place(&mut self, label: Label) {
        let place = &mut self.places[label.0];
        debug_assert!(place.is_none(), "a label is placed once");
        *place = Some(self.insns.len());
    }

    /// dst = src
    pub(super) fn copy(&mut self, dst: Reg, src: Reg) {
        self.push(ALU64 | 0xb0 | FROM_REGISTER, dst as u8, src as u8, 0, 0);
    }

    /// dst = value
    pub(super) fn set(&mut self, dst: Reg, value: i32) {
        self.push(ALU64 | 0xb0, dst as u8, 0, 0, value);
    }

    /// dst += value
    pub(super) fn add(&mut self, dst: Reg, value: i32) {
        self.push(ALU64, dst as u8, 0, 0, value);
    }

    /// dst &= mask
    pub(super) fn and(&mut self, dst: Reg, mask: i32) {
        self.push(ALU64 | 0x50, dst as u8, 0, 0, mask);
    }

    /// dst >>= bits
    pub(super) fn shift_right(&mut self, dst: Reg, bits: i32) {
        self.push(ALU64 | 0x70, dst as u8, 0, 0, bits);
    }

    /// dst = what is in memory, `offset` bytes behind the address in `src`
    pub(super) fn load(&mut self, size: Size, dst: Reg, src: Reg, offset: i16) {
        self.push(LDX_MEM | size as u8, dst as u8, src as u8, offset, 0);
    }

    /// dst = the map. Two instructions wide.
    pub(super) fn load_map(&mut self, dst: Reg, map: BorrowedFd<'_>) {
        self.push(LD_IMM64, dst as u8, PSEUDO_MAP_FD, 0, map.as_raw_fd());
        self.push(0, 0, 0, 0, 0);
    }

    /// Goes on at `to`.
    pub(super) fn jump(&mut self, to: Label) {
        self.push_jump(JMP, 0, 0, 0, to);
    }

    /// Goes on at `to` if `left` and `right` are as `when` says.
    pub(super) fn jump_if(&mut self, when: When, left: Reg, right: i32, to: Label) {
        self.push_jump(JMP | when as u8, left as u8, 0, right, to);
    }

    /// Goes on at `to` if the address in `left` is behind the one in `right`.
    pub(super) fn jump_if_behind(&mut self, left: Reg, right: Reg, to: Label) {
        self.push_jump(JMP | 0x20 | FROM_REGISTER, left as u8, right as u8, 0, to);
    }

    /// Calls one of the kernel's functions for programs.
    pub(super) fn call(&mut self, function: i32) {
        self.push(JMP | 0x80, 0, 0, 0, function);
    }

    /// The program's end; its verdict is in R0.
    pub(super) fn exit(&mut self) {
        self.push(JMP | 0x90, 0, 0, 0, 0);
    }

    /// The program.
    ///
    /// # Panics
    ///
    /// If a label that is jumped to is nowhere, or too far away. Both are mistakes in the code that calls this; the longest
    /// filter stays a hundred times below the second.
    pub(super) fn finish(mut self) -> Vec<Insn> {
        for &(at, to) in &self.jumps {
            let place = self.places[to.0].expect("a label that is jumped to has been placed");
            let distance = place as isize - (at as isize + 1);
            self.insns[at].offset = i16::try_from(distance).expect("a filter is short");
        }
        self.insns
    }

    fn push(&mut self, code: u8, dst: u8, src: u8, offset: i16, immediate: i32) {
        self.insns.push(Insn::new(code, dst, src, offset, immediate));
    }

    fn push_jump(&mut self, code: u8, dst: u8, src: u8, immediate: i32, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(code, dst, src, 0, immediate);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use std::os::fd::AsFd;

    use super::*;

    /// Code, destination, source, offset, immediate.
    fn fields(insn: Insn) -> (u8, u8, u8, i16, i32) {
        let (low, high) = (insn.registers & 15, insn.registers >> 4);
        let (dst, src) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        (insn.code, dst, src, insn.offset, insn.immediate)
    }

    /// Each kind once, against the numbers that `llvm-objdump` gives for the same line of assembly.
    #[test]
    fn every_instruction_has_its_number() {
        let mut asm = Assembler::default();
        asm.copy(Reg::R6, Reg::R1);
        asm.set(Reg::R0, 2);
        asm.add(Reg::R4, -14);
        asm.and(Reg::R0, 15);
        asm.shift_right(Reg::R1, 4);
        asm.load(Size::Word, Reg::R2, Reg::R1, 4);
        asm.load(Size::Half, Reg::R5, Reg::R2, 12);
        asm.load(Size::Byte, Reg::R5, Reg::R4, -1);
        asm.call(51);
        asm.exit();
        let numbers = asm.finish().into_iter().map(fields).collect::<Vec<_>>();
        assert_eq!(
            numbers,
            vec![
                (0xbf, 6, 1, 0, 0),
                (0xb7, 0, 0, 0, 2),
                (0x07, 4, 0, 0, -14),
                (0x57, 0, 0, 0, 15),
                (0x77, 1, 0, 0, 4),
                (0x61, 2, 1, 4, 0),
                (0x69, 5, 2, 12, 0),
                (0x71, 5, 4, -1, 0),
                (0x85, 0, 0, 0, 51),
                (0x95, 0, 0, 0, 0),
            ]
        );
    }

    #[test]
    fn jumps_are_counted_from_the_next_instruction() {
        let mut asm = Assembler::default();
        let (back, forth) = (asm.label(), asm.label());
        asm.place(back);
        asm.jump_if(When::Equal, Reg::R5, 8, forth);
        asm.jump_if(When::NotEqual, Reg::R5, 9, back);
        asm.jump_if_behind(Reg::R4, Reg::R3, forth);
        asm.jump(back);
        asm.place(forth);
        asm.exit();
        let numbers = asm.finish().into_iter().map(fields).collect::<Vec<_>>();
        assert_eq!(
            numbers,
            vec![(0x15, 5, 0, 3, 8), (0x55, 5, 0, -2, 9), (0x2d, 4, 3, 1, 0), (0x05, 0, 0, -4, 0), (0x95, 0, 0, 0, 0),]
        );
    }

    /// So a jump across it is one longer.
    #[test]
    fn a_map_is_two_instructions() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut asm = Assembler::default();
        let end = asm.label();
        asm.jump(end);
        asm.load_map(Reg::R1, file.as_fd());
        asm.place(end);
        asm.exit();
        let numbers = asm.finish().into_iter().map(fields).collect::<Vec<_>>();
        let wanted = vec![(0x05, 0, 0, 2, 0), (0x18, 1, 1, 0, file.as_raw_fd()), (0, 0, 0, 0, 0), (0x95, 0, 0, 0, 0)];
        assert_eq!(numbers, wanted);
    }

    #[test]
    #[should_panic(expected = "has been placed")]
    fn a_jump_to_nowhere_is_noticed() {
        let mut asm = Assembler::default();
        let nowhere = asm.label();
        asm.jump(nowhere);
        asm.finish();
    }
}
