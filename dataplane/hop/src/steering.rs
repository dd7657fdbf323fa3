//! Which worker of the receiver a packet is for: one octet, modulo the number of workers.
//!
//! Owns that rule, for user space and as a program for the kernel. Knows nothing of what the octet means, and no sockets:
//! whoever has them binds them in the order of the workers and attaches the program (SO_ATTACH_REUSEPORT_CBPF).

use headrace_cid::Workers;
use headrace_cid::filter::{Instruction, NO_WORKER};

/// Where the octet is.
pub(crate) const OCTET: usize = 1;

/// Instructions of the program.
pub const FILTER_LEN: usize = 6;

/// BPF_LD | BPF_W | BPF_LEN, BPF_LD | BPF_B | BPF_ABS, BPF_JMP | BPF_JGE | BPF_K, BPF_ALU | BPF_MOD | BPF_K,
/// BPF_RET | BPF_A, BPF_RET | BPF_K.
const LOAD_LENGTH: u16 = 0x80;
const LOAD_OCTET: u16 = 0x30;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const REMAINDER: u16 = 0x94;
const RETURN_ACCUMULATOR: u16 = 0x16;
const RETURN: u16 = 0x06;

/// The worker of a packet. `None` is one without the octet.
pub fn worker_of(packet: &[u8], workers: Workers) -> Option<usize> {
    packet.get(OCTET).map(|octet| usize::from(*octet) % workers.get())
}

/// The same for the kernel. A packet without the octet goes to any worker, by the hash of its addresses.
pub const fn filter(workers: Workers) -> [Instruction; FILTER_LEN] {
    const fn plain(code: u16, k: u32) -> Instruction {
        Instruction { code, jump_true: 0, jump_false: 0, k }
    }
    [
        plain(LOAD_LENGTH, 0),
        // To the last one if it is shorter.
        Instruction { code: JUMP_IF_AT_LEAST, jump_true: 0, jump_false: 3, k: OCTET as u32 + 1 },
        plain(LOAD_OCTET, OCTET as u32),
        plain(REMAINDER, workers.get() as u32),
        plain(RETURN_ACCUMULATOR, 0),
        plain(RETURN, NO_WORKER),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with the program.
    fn run(program: &[Instruction], packet: &[u8]) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, jump_true, jump_false, k } = program[at];
            at += 1;
            match code {
                LOAD_LENGTH => accumulator = packet.len() as u32,
                LOAD_OCTET => match packet.get(k as usize) {
                    Some(octet) => accumulator = u32::from(*octet),
                    None => return 0,
                },
                JUMP_IF_AT_LEAST => at += usize::from(if accumulator >= k { jump_true } else { jump_false }),
                REMAINDER => accumulator %= k,
                RETURN_ACCUMULATOR => return accumulator,
                RETURN => return k,
                _ => panic!("no instruction {code:#x} in use"),
            }
        }
    }

    #[test]
    fn filter_and_twin_agree() {
        for count in 1..=headrace_cid::MAX_WORKERS {
            let workers = Workers::new(count).unwrap();
            let program = filter(workers);
            for length in 0..4 {
                for octet in 0..=u8::MAX {
                    let packet = &[0x11, octet, 7, 7][..length];
                    let expected = worker_of(packet, workers).map_or(NO_WORKER, |worker| worker as u32);
                    assert_eq!(run(&program, packet), expected, "{count} workers, {packet:?}");
                    assert_eq!(expected == NO_WORKER, length < 2);
                }
            }
        }
    }
}
