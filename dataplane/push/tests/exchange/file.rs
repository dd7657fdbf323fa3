//! The last good table in its file, and files that are none.

use headrace_push::{Digest, Held, NotHeld};

use crate::pair::{Pair, certificate, held, routes};

fn file() -> Vec<u8> {
    let mut table = routes(0..20, 200);
    table.certificates.push(certificate("a", 100));
    held((7, 42), &table).encode()
}

/// With a checksum that fits, as another writer would make it.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut file = file()[..12].to_vec();
    file.extend((body.len() as u64).to_be_bytes());
    file.extend(Digest::of(body).as_octets());
    file.extend(body);
    file
}

const HEAD: usize = 8 + 4 + 8 + 32;

#[test]
fn what_is_kept_is_what_was_held() {
    for table in [routes([], 200), routes(0..20, 200)] {
        let before = held((7, 42), &table);
        let after = Held::decode(&before.encode()).unwrap();
        assert_eq!(after.version, before.version);
        assert_eq!(after.sections.table().unwrap(), table);
    }
    // And a pod that starts from it goes on where it was.
    let mut pair = Pair::new(7, None);
    pair.publish(&routes(0..20, 200));
    pair.settle();
    let kept = Held::decode(&pair.subscriber.held().unwrap().encode()).unwrap();
    pair.subscriber = headrace_push::Subscriber::new(Some(kept));
    pair.connect();
    assert_eq!(pair.settle(), ["Hello", "Adopt", "Accepted"]);
}

#[test]
fn a_file_that_was_cut_off_is_none() {
    let file = file();
    for length in 0..file.len() {
        let expected = if length < HEAD { HEAD } else { file.len() } as u64;
        let fault = Held::decode(&file[..length]).unwrap_err();
        assert_eq!(fault, NotHeld::Truncated { expected, found: length as u64 });
    }
}

#[test]
fn a_file_with_one_octet_changed_is_none() {
    let file = file();
    for index in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[index] ^= 1 << bit;
            let fault = Held::decode(&damaged).unwrap_err();
            let is_right = match index {
                0..8 => fault == NotHeld::Foreign,
                8..12 => matches!(fault, NotHeld::Format(_)),
                12..20 => matches!(fault, NotHeld::Truncated { .. } | NotHeld::Damaged),
                _ => fault == NotHeld::Damaged,
            };
            assert!(is_right, "octet {index}: {fault}");
        }
    }
}

#[test]
fn what_another_writer_sealed_is_read_with_care() {
    let body = file()[HEAD..].to_vec();
    let change = |index: usize, octet: u8| {
        let mut body = body.clone();
        body[index] = octet;
        body
    };
    let head = 8 + 8 + 32;
    let cases = [
        ("cut in a section", body[..body.len() - 1].to_vec(), "a section is cut off"),
        ("something more", [&body[..], b"x"].concat(), "something follows the last section"),
        ("a count without bound", change(head, 0xff), "too many sections"),
        ("a count that is too large", change(head + 3, 0xff), "a section is cut off"),
        ("an unknown kind", change(head + 4, 9), "a section of unknown kind"),
        ("out of order", change(head + 4, 4), "sections are out of order"),
        ("another kind", change(head + 4, 1), "its version names another table"),
        ("another digest", change(16, body[16] ^ 1), "its version names another table"),
        ("not UTF-8", change(head + 4 + 7, 0xff), "an id that is not UTF-8"),
    ];
    for (case, body, fault) in cases {
        assert_eq!(Held::decode(&sealed(&body)).unwrap_err(), NotHeld::Malformed(fault), "{case}");
    }
}
