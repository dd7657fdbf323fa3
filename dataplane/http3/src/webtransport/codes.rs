//! Owns how the 32-bit codes of WebTransport applications are put among HTTP/3's (draft-ietf-webtrans-http3 section 4.4).

use crate::code::Code;

/// What application code 0 becomes.
const FIRST: u64 = 0x52e4_a40f_a8db;

/// What the largest application code becomes.
const LAST: u64 = 0x52e5_ac98_3162;

/// One in this many of HTTP/3's codes is reserved for greasing, and skipped (RFC 9114 section 8.1).
const GREASE_STEP: u64 = 0x1f;

/// The first of the reserved codes.
const GREASE_FIRST: u64 = 0x21;

/// The code on the wire of an application's code.
pub fn from_application(code: u32) -> Code {
    let code = u64::from(code);
    Code::new(FIRST + code + code / (GREASE_STEP - 1)).expect("the range lies within QUIC's integers")
}

/// The application's code of a code on the wire; `None` when no application sent it.
pub fn to_application(code: Code) -> Option<u32> {
    let value = code.value();
    if !(FIRST..=LAST).contains(&value) || (value - GREASE_FIRST).is_multiple_of(GREASE_STEP) {
        return None;
    }
    let shifted = value - FIRST;
    u32::try_from(shifted - shifted / GREASE_STEP).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors() {
        for (application, wire) in [
            (0, 0x52e4_a40f_a8db),
            (29, 0x52e4_a40f_a8f8),
            (30, 0x52e4_a40f_a8fa),
            (255, 0x52e4_a40f_a9e2),
            (u32::MAX, 0x52e5_ac98_3162),
        ] {
            assert_eq!(from_application(application).value(), wire);
            assert_eq!(to_application(Code::new(wire).unwrap()), Some(application));
        }
        for none in [0, 0x10c, FIRST - 1, 0x52e4_a40f_a8f9, LAST + 1, (1 << 62) - 1] {
            assert_eq!(to_application(Code::new(none).unwrap()), None, "{none:#x}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(code: u32) {
            prop_assert_eq!(to_application(from_application(code)), Some(code));
        }

        #[test]
        fn back_and_there(value in FIRST..=LAST) {
            let code = Code::new(value).unwrap();
            if let Some(application) = to_application(code) {
                prop_assert_eq!(from_application(application), code);
            }
        }
    }
}
