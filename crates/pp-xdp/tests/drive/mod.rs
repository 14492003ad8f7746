//! Queues and their kernels on rings in memory, driven by bytes, against an oracle that predicts every figure.
//!
//! | part | what it is |
//! |---|---|
//! | `input` | choices out of bytes |
//! | `world` | UMEMs, pools and queues; what must hold after every step |
//! | `oracle` | rings and counts in the simplest words |
//! | `user`, `kernel` | what each side does, nonsense too, and what must come of it |
//!
//! The same for proptest, for the committed corpus, and for the fuzzer, which has this folder by its path.

mod input;
mod kernel;
mod oracle;
mod user;
mod world;

use std::collections::BTreeMap;

use input::Input;
use user::Fate;
use world::World;

/// Bytes that make the world, and bytes of each operation in it.
pub(crate) const WORLD: usize = 16;
/// See [`WORLD`].
pub(crate) const STEP: usize = 8;

/// Does what the bytes say, and says what happened, and how often.
///
/// # Panics
///
/// When anything is not as it must be.
pub(crate) fn run(bytes: &[u8]) -> BTreeMap<&'static str, usize> {
    let mut input = Input::new(bytes);
    let Some(mut first) = input.step(WORLD) else { return BTreeMap::new() };
    let mut world = World::new(&mut first);
    world.check();
    while let Some(mut step) = input.step(STEP) {
        one(&mut world, &mut step);
        world.check();
    }
    world.end()
}

fn one(world: &mut World, input: &mut Input<'_>) {
    let (verb, queue) = (input.byte(), input.below(world.queues.len()));
    // A pool of the queue's UMEM, most of the time.
    let memory = usize::from((queue + 1 == world.queues.len()) != (verb & 0xc0 == 0xc0));
    let from = (memory, usize::from(verb >> 4) % 3);
    let any = usize::from(input.byte());
    match verb % 32 {
        0..4 => world.refill(queue, from),
        4..9 => world.deliver(queue, (1, false), input),
        9 => world.deliver(queue, (1 + any % 30, any >= 128), input),
        10..12 => {
            world.settle();
            world.receive(queue, (64, usize::MAX), Fate::Hold);
        }
        12 => world.receive(queue, (any % 5, input.below(4)), Fate::Hold),
        13 => {
            let to = any % world.queues.len();
            world.receive(queue, (64, usize::MAX), Fate::Send(to));
        }
        14 => {
            world.receive(queue, (64, 1 + any % 8), if any < 64 { Fate::Drop } else { Fate::Recycle(from.0, from.1) })
        }
        15..17 => world.send(any, queue),
        17 => world.send_copy(any, queue, from),
        18 => world.send_bytes(any * 23 * input.below(16), queue, from),
        19 => {
            let unit = world.memories[memory].unit;
            let lens: Vec<_> = (0..1 + any % 3).map(|_| (1 + input.below(256) * 16).min(unit)).collect();
            world.make(from, &lens);
        }
        20 => world.flush(queue),
        21 => {
            world.flush(queue);
            world.take_tx(queue, 1 + any % 64);
            (0..any % 8).for_each(|_| world.done(queue, input.below(256)));
        }
        22 => world.done(queue, any),
        23 => world.complete(queue, Ok(any % 16)),
        24 => world.complete(queue, Err(from)),
        25 => world.drop(any),
        26 => world.adjust(any, i32::from(input.byte() % 40), i32::from(input.byte()) * 16),
        27 | 28 => world.lie(queue, input),
        29 => match any % 4 {
            0 => world.lead_astray(queue, input.number() as u32),
            1 => world.churn(from, verb),
            2 => world.take_fill(queue, input.below(8)),
            _ => world.memories[memory].replace_pool(from.1),
        },
        30 => world.scribble(any as u8),
        _ => match any % 4 {
            0 if world.queues[queue].is_some() => world.close(queue),
            0 | 1 if world.queues[queue].is_none() => {
                let memory = usize::from(queue + 1 == world.queues.len());
                world.queues[queue] = Some(world.open(memory));
            }
            2 => world.quiet(input.below(256), any % 3),
            _ => world.too_late(any, input),
        },
    }
}
