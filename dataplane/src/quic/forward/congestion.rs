//! What the network between the pods says of congestion, added to what the one before said (RFC 6040).
//!
//! Pure. A hop packet goes out with the mark of the datagram in it, and a router on the way may raise that.

use headrace_hop::Ecn;
use quinn::udp::EcnCodepoint;

/// As the hop writes it.
pub(super) fn ecn_of(codepoint: Option<EcnCodepoint>) -> Ecn {
    Ecn::from_bits(codepoint.map_or(0, |codepoint| codepoint as u8))
}

/// As quinn has it: nothing where the endpoints do not use it.
pub(super) fn codepoint_of(ecn: Ecn) -> Option<EcnCodepoint> {
    EcnCodepoint::from_bits(ecn.bits())
}

/// What a datagram arrives with, by its own mark and that of the packet around it (RFC 6040 section 4.2). `Err` is one to
/// be dropped: congestion was met, and its endpoints would not hear of it otherwise.
pub(super) fn combined(inner: Ecn, outer: Option<EcnCodepoint>) -> Result<Option<EcnCodepoint>, DroppedByCongestion> {
    use EcnCodepoint::{Ce, Ect0, Ect1};
    match (codepoint_of(inner), outer) {
        (None, Some(Ce)) => Err(DroppedByCongestion),
        (None, _) => Ok(None),
        (Some(_), Some(Ce)) => Ok(Some(Ce)),
        (Some(Ect0), Some(Ect1)) => Ok(Some(Ect1)),
        (inner, _) => Ok(inner),
    }
}

/// A router wanted to drop it and marked it instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DroppedByCongestion;

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6040 section 4.2, figure 4.
    #[test]
    fn as_the_table_says() {
        use EcnCodepoint::{Ce, Ect0, Ect1};
        let outer = [None, Some(Ect0), Some(Ect1), Some(Ce)];
        let rows = [
            (None, [Ok(None), Ok(None), Ok(None), Err(DroppedByCongestion)]),
            (Some(Ect0), [Ok(Some(Ect0)), Ok(Some(Ect0)), Ok(Some(Ect1)), Ok(Some(Ce))]),
            (Some(Ect1), [Ok(Some(Ect1)), Ok(Some(Ect1)), Ok(Some(Ect1)), Ok(Some(Ce))]),
            (Some(Ce), [Ok(Some(Ce)), Ok(Some(Ce)), Ok(Some(Ce)), Ok(Some(Ce))]),
        ];
        for (inner, row) in rows {
            for (outer, expected) in outer.iter().zip(row) {
                assert_eq!(combined(ecn_of(inner), *outer), expected, "{inner:?} in {outer:?}");
            }
            assert_eq!(codepoint_of(ecn_of(inner)), inner);
        }
    }
}
