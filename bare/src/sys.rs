//! The machine: here that is Linux by bare system calls, and its signals are the interrupts.

use core::arch::{asm, global_asm};

/// The interrupt.
pub const INTERRUPT: i32 = 10; // SIGUSR1
/// The watchdog.
pub const WATCHDOG: i32 = 14; // SIGALRM

mod number {
    pub const WRITE: usize = 1;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const ALARM: usize = 37;
    pub const GETPID: usize = 39;
    pub const KILL: usize = 62;
    pub const EXIT_GROUP: usize = 231;
}

/// # Safety
///
/// The call does what its number says; pointers among the arguments are valid for that.
unsafe fn call(number: usize, arguments: [usize; 4]) -> usize {
    let result;
    let [a, b, c, d] = arguments;
    // SAFETY: the kernel clobbers rcx and r11 and keeps the rest.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Ends the program with a code from 0 to 255.
pub fn exit(code: i32) -> ! {
    // SAFETY: no pointers.
    unsafe { call(number::EXIT_GROUP, [code as usize, 0, 0, 0]) };
    loop {
        core::hint::spin_loop();
    }
}

pub fn print(text: &str) {
    // SAFETY: the text is readable.
    unsafe { call(number::WRITE, [1, text.as_ptr().expose_provenance(), text.len(), 0]) };
}

/// Raises the interrupt. It has been handled when this returns, unless it is masked.
pub fn raise() {
    // SAFETY: no pointers.
    unsafe {
        let this = call(number::GETPID, [0; 4]);
        call(number::KILL, [this, INTERRUPT as usize, 0, 0]);
    }
}

/// Raises the watchdog after so many seconds.
pub fn watch(seconds: usize) {
    // SAFETY: no pointers.
    unsafe { call(number::ALARM, [seconds, 0, 0, 0]) };
}

/// The kernel's `struct sigaction` of x86-64.
#[repr(C)]
struct Action {
    handler: extern "C" fn(i32),
    flags: usize,
    restorer: unsafe extern "C" fn(),
    mask: usize,
}

unsafe extern "C" {
    fn return_from_interrupt();
}

// rt_sigreturn.
global_asm!(".globl return_from_interrupt", "return_from_interrupt:", "mov eax, 15", "syscall");

pub fn on(signal: i32, handler: extern "C" fn(i32)) {
    const SA_RESTORER: usize = 0x0400_0000;
    let action = Action { handler, flags: SA_RESTORER, restorer: return_from_interrupt, mask: 0 };
    // SAFETY: the action is readable during the call, and a mask is 8 bytes.
    unsafe { call(number::RT_SIGACTION, [signal as usize, (&raw const action).expose_provenance(), 0, 8]) };
}

/// What the provider's lock is made of. On bare metal `mask` is `pushf; cli`, and `restore` is `sti` if the flag was set.
pub mod irq {
    const SIG_BLOCK: usize = 0;
    const SIG_SETMASK: usize = 2;

    /// No interrupts from here on; what to restore.
    pub fn mask() -> usize {
        if cfg!(feature = "unmasked") { 0 } else { change(SIG_BLOCK, 1 << (super::INTERRUPT - 1)) }
    }

    /// As before the `mask` that returned this.
    pub fn restore(before: usize) {
        if !cfg!(feature = "unmasked") {
            change(SIG_SETMASK, before);
        }
    }

    fn change(how: usize, set: usize) -> usize {
        let mut before = 0usize;
        let (new, old) = ((&raw const set).expose_provenance(), (&raw mut before).expose_provenance());
        // SAFETY: both masks are 8 bytes of ours.
        unsafe { super::call(super::number::RT_SIGPROCMASK, [how, new, old, 8]) };
        before
    }
}
