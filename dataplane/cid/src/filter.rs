//! The rule of [`Steering`] as a program for the kernel.
//!
//! Owns the instructions. Knows nothing of sockets: whoever has one attaches them (SO_ATTACH_REUSEPORT_CBPF).
//!
//! Classic BPF reads the datagram from its first octet on, and whoever owns the sockets may attach it. What the program
//! returns is the place of a socket in its group. A number beyond the group's last has the kernel choose by the hash of
//! the addresses, and that is what is returned for a packet without the octet. A load beyond the end would end the program
//! with 0, which is somebody's place, so every load is behind a comparison with the length.

use crate::Steering;
use crate::layout::MIN_CID;
use crate::packet::{LONG_CID, LONG_FORM, LONG_LENGTH, SHORT_CID};
use crate::steering::FOREIGN_OCTET;

/// One instruction, with the fields of the kernel's `sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do: class, size, mode.
    pub code: u16,
    /// How many instructions to leave out if it is so.
    pub jump_true: u8,
    /// And if it is not.
    pub jump_false: u8,
    /// The operand.
    pub k: u32,
}

/// How many instructions a program has.
pub const FILTER_LEN: usize = 21;

/// What is returned for a packet without the octet: the place of no socket.
pub const NO_WORKER: u32 = u32::MAX;

/// The accumulator becomes the length of the datagram (BPF_LD | BPF_W | BPF_LEN).
const LOAD_LENGTH: u16 = 0x80;
/// The accumulator becomes one octet (BPF_LD | BPF_B | BPF_ABS).
const LOAD_OCTET: u16 = 0x30;
/// BPF_JMP | BPF_JA | BPF_K.
const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K.
const JUMP_IF_EQUAL: u16 = 0x15;
/// BPF_JMP | BPF_JGE | BPF_K.
const JUMP_IF_AT_LEAST: u16 = 0x35;
/// BPF_JMP | BPF_JSET | BPF_K.
const JUMP_IF_SET: u16 = 0x45;
/// BPF_ALU | BPF_MOD | BPF_K.
const REMAINDER: u16 = 0x94;
/// BPF_RET | BPF_A.
const RETURN_ACCUMULATOR: u16 = 0x16;
/// BPF_RET | BPF_K.
const RETURN: u16 = 0x06;

/// Places in the program.
const SHORT: usize = 4;
const LONG: usize = 8;
const OURS: usize = 12;
const FOREIGN: usize = 16;
const DECIDE: usize = 18;
const NOBODY: usize = 20;

const fn load_length() -> Instruction {
    Instruction { code: LOAD_LENGTH, jump_true: 0, jump_false: 0, k: 0 }
}

const fn load_octet(at: usize) -> Instruction {
    Instruction { code: LOAD_OCTET, jump_true: 0, jump_false: 0, k: at as u32 }
}

/// At `at`: to one place or the other, both of them behind.
const fn jump_if(at: usize, code: u16, k: usize, is_so: usize, is_not: usize) -> Instruction {
    Instruction { code, jump_true: (is_so - at - 1) as u8, jump_false: (is_not - at - 1) as u8, k: k as u32 }
}

const fn jump(at: usize, to: usize) -> Instruction {
    Instruction { code: JUMP, jump_true: 0, jump_false: 0, k: (to - at - 1) as u32 }
}

const fn other(code: u16, k: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, k }
}

impl Steering {
    /// The program for a group of sockets in the order of the workers. It says what [`Steering::worker_of`] says.
    pub const fn filter(&self) -> [Instruction; FILTER_LEN] {
        let (octet, cid_len) = (self.octet(), self.cid_len());
        [
            load_length(),
            jump_if(1, JUMP_IF_AT_LEAST, 1, 2, NOBODY),
            load_octet(0),
            jump_if(3, JUMP_IF_SET, LONG_FORM as usize, LONG, SHORT),
            // SHORT
            load_length(),
            jump_if(5, JUMP_IF_AT_LEAST, SHORT_CID + octet + 1, 6, NOBODY),
            load_octet(SHORT_CID + octet),
            jump(7, DECIDE),
            // LONG: with room for a client's choice, there is room for the length. An ID of ours is no shorter.
            load_length(),
            jump_if(9, JUMP_IF_AT_LEAST, LONG_CID + MIN_CID, 10, NOBODY),
            load_octet(LONG_LENGTH),
            jump_if(11, JUMP_IF_EQUAL, cid_len, OURS, FOREIGN),
            // OURS
            load_length(),
            jump_if(13, JUMP_IF_AT_LEAST, LONG_CID + cid_len, 14, NOBODY),
            load_octet(LONG_CID + octet),
            jump(15, DECIDE),
            // FOREIGN
            jump_if(16, JUMP_IF_AT_LEAST, MIN_CID, 17, NOBODY),
            load_octet(LONG_CID + FOREIGN_OCTET),
            // DECIDE
            other(REMAINDER, self.workers().get() as u32),
            other(RETURN_ACCUMULATOR, 0),
            // NOBODY
            other(RETURN, NO_WORKER),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Workers;

    /// What the kernel does with a program, as bpf(4) and the kernel's filter.rst say it.
    fn run(program: &[Instruction], packet: &[u8]) -> u32 {
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let Instruction { code, jump_true, jump_false, k } = program[at];
            at += 1;
            let mut branch = |is_so: bool| at += usize::from(if is_so { jump_true } else { jump_false });
            match code {
                0x80 => accumulator = packet.len() as u32,
                0x30 => match packet.get(k as usize) {
                    Some(octet) => accumulator = u32::from(*octet),
                    None => return 0,
                },
                0x05 => at += k as usize,
                0x15 => branch(accumulator == k),
                0x35 => branch(accumulator >= k),
                0x45 => branch(accumulator & k != 0),
                0x94 => accumulator %= k,
                0x16 => return accumulator,
                0x06 => return k,
                _ => panic!("no instruction {code:#x} in use"),
            }
        }
    }

    fn steerings() -> impl Strategy<Value = Steering> {
        (8..=20_usize, 1..20_usize, 1..=128_usize).prop_filter_map("an octet of the ID", |(length, octet, workers)| {
            Steering::new(length, octet, Workers::new(workers)?).ok()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn filter_and_twin_agree(steering in steerings(), mut packet in prop::collection::vec(any::<u8>(), 0..48),
                                 length in 0..24_u8, shaped in any::<bool>()) {
            if let (true, Some(octet)) = (shaped, packet.get_mut(5)) {
                *octet = length;
            }
            let expected = steering.worker_of(&packet).map_or(NO_WORKER, |worker| worker as u32);
            prop_assert_eq!(run(&steering.filter(), &packet), expected);
        }
    }

    #[test]
    fn every_length_of_a_packet_and_of_an_id() {
        for cid_len in 8..=20 {
            for octet in 1..cid_len {
                let steering = Steering::new(cid_len, octet, Workers::new(5).unwrap()).unwrap();
                let program = steering.filter();
                for (first, length) in (0..=21).flat_map(|length| [(0x40, length), (0xc0, length)]) {
                    let mut packet: Vec<u8> = (100..140).collect();
                    (packet[0], packet[5]) = (first, length);
                    for end in 0..packet.len() {
                        let packet = &packet[..end];
                        let expected = steering.worker_of(packet).map_or(NO_WORKER, |worker| worker as u32);
                        assert_eq!(run(&program, packet), expected, "{steering:?} {packet:?}");
                    }
                }
            }
        }
    }
}
