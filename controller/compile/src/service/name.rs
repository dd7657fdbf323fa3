//! Names of Services and values of labels.
//!
//! Owns how a name that is too long or too free is made to fit. It must not know what is named.

/// Characters of a Service's name (a label of RFC 1035) and of a label's value at most.
const MAX_LABEL: usize = 63;

/// `gateway-class`, as the Gateway API's GEP-1762 has it. A Gateway's name may be longer and have dots in it or a digit in
/// front, which a Service's may not; then what is left of it ends in a hash of the whole.
pub(super) fn service(gateway: &str, class: &str) -> String {
    let plain = format!("{gateway}-{class}");
    let fits = plain.len() <= MAX_LABEL && is_label(&plain);
    if fits { plain } else { shortened(&plain, &format!("{gateway}/{class}")) }
}

/// The same, for a Gateway of whose name another one is in the way.
pub(super) fn distinct(gateway: &str, class: &str) -> String {
    shortened(&format!("{gateway}-{class}"), &format!("{gateway}/{class}"))
}

/// The text as a label's value.
pub(super) fn label_value(text: &str) -> String {
    if text.len() <= MAX_LABEL { text.to_owned() } else { shortened(text, text) }
}

/// RFC 1035, section 2.3.1, in lower case.
fn is_label(text: &str) -> bool {
    let inner = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(inner) && !text.ends_with('-')
}

fn shortened(text: &str, whole: &str) -> String {
    let hash = format!("{:08x}", fnv1a(whole));
    let mut name: String =
        text.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.insert_str(0, "gateway-");
    }
    name.truncate(MAX_LABEL - hash.len() - 1);
    format!("{}-{hash}", name.trim_end_matches('-'))
}

/// Fowler, Noll and Vo: enough to tell names apart that somebody chose in one namespace of their own.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_whatever_the_gateway_is_called() {
        for (gateway, class, expected) in [
            ("edge", "headrace", "edge-headrace"),
            ("a.b", "headrace", "a-b-headrace-6f1e9d25"),
            ("1st", "headrace", "gateway-1st-headrace-d2b7ac86"),
            ("...", "", "gateway-9a8c2f29"),
        ] {
            let name = service(gateway, class);
            assert!(is_label(&name), "{name}");
            assert_eq!(name.rsplit_once('-').unwrap().0, expected.rsplit_once('-').unwrap().0, "{gateway}");
        }
        let long = "x".repeat(253);
        let name = service(&long, "headrace");
        assert_eq!((name.len(), is_label(&name)), (MAX_LABEL, true));
        assert_ne!(name, service(&long, "headrace-2"));
        assert_ne!(service("a.b", "c"), service("a-b", "c"));
    }

    #[test]
    fn label_values_fit() {
        assert_eq!(label_value("a.b"), "a.b");
        assert_eq!(label_value(&"x".repeat(64)).len(), MAX_LABEL);
    }
}
