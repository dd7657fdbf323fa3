//! One identity for each distinct policy, from table to table, and what becomes of policies that cannot be used.

use headrace_table::wire;
use rcgen::{CertificateParams, KeyPair};

use super::*;

fn root() -> String {
    CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn backend(id: &str, tls: Option<(&str, &str)>) -> wire::Backend {
    wire::Backend {
        id: id.to_owned(),
        protocol: wire::BackendProtocol::Http1,
        endpoints: Vec::new(),
        tls: tls.map(|(server_name, roots)| wire::BackendTls {
            server_name: server_name.to_owned(),
            trust: if roots.is_empty() { wire::Trust::System } else { wire::Trust::Roots(roots.to_owned()) },
            subject_alt_names: Vec::new(),
        }),
    }
}

fn table(backends: Vec<wire::Backend>) -> Table {
    Table::try_from(wire::Table { backends, ..wire::Table::default() }).unwrap()
}

fn id(tls: &UpstreamTls, table: &Table, backend: &str) -> Option<TlsId> {
    tls.of(table.backend(backend).unwrap()).unwrap().map(ClientTls::id)
}

#[test]
fn an_identity_stays_what_it_is_from_table_to_table() {
    let (one, other) = (root(), root());
    let first = table(vec![
        backend("a", Some(("a.test", &one))),
        backend("b", Some(("a.test", &one))),
        backend("c", Some(("c.test", &one))),
        backend("d", Some(("a.test", &other))),
        backend("e", Some(("a.test", ""))),
        backend("f", None),
    ]);
    let (before, failures) = UpstreamTls::load(&first, None);
    assert_eq!(failures, []);
    let of = |name: &str| id(&before, &first, name);
    assert_eq!(of("a"), of("b"), "equal identities are one");
    assert_eq!(of("f"), None);
    let distinct: std::collections::HashSet<_> = ["a", "c", "d", "e", "f"].map(of).into();
    assert_eq!(distinct.len(), 5);

    let second = table(vec![backend("a", Some(("a.test", &other))), backend("g", Some(("c.test", &one)))]);
    let (after, failures) = UpstreamTls::load(&second, Some(&before));
    assert_eq!(failures, []);
    assert_eq!(id(&after, &second, "a"), of("d"), "whoever asks for it");
    assert_eq!(id(&after, &second, "g"), of("c"));

    let third = table(vec![backend("a", Some(("a.test", &one)))]);
    let (again, _) = UpstreamTls::load(&third, Some(&after));
    assert_ne!(id(&again, &third, "a"), of("a"), "what was forgotten in between is never the same again");
}

#[test]
fn roots_that_are_none_are_told_once_for_each_backend_and_nothing_else_suffers() {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let (good, broken) = (root(), format!("{BEGIN}\nAAAA\n{END}\n"));
    let mixed = format!("{broken}{good}");
    let table = table(vec![
        backend("base64", Some(("a.test", &format!("{BEGIN}\n*\n{END}\n")))),
        backend("cut", Some(("a.test", BEGIN))),
        backend("der", Some(("a.test", &broken))),
        backend("der-too", Some(("a.test", &broken))),
        backend("good", Some(("a.test", &good))),
        backend("mixed", Some(("a.test", &mixed))),
        backend("number", Some(("1.2.3", &good))),
    ]);
    let (tls, failures) = UpstreamTls::load(&table, None);
    let told: Vec<_> = failures.iter().map(|failure| (&*failure.id, &*failure.reason)).collect();
    assert_eq!(told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["base64", "cut", "der", "der-too", "number"]);
    for (id, reason) in &told {
        let expected = match *id {
            "der" | "der-too" => "the roots hold no certificate that can be used: ",
            "number" => "the server name cannot be a TLS server name",
            _ => "the roots ",
        };
        assert!(reason.starts_with(expected), "{id}: {reason}");
        assert_eq!(tls.of(table.backend(id).unwrap()).err(), Some(Failure::BackendTls), "never in clear text");
    }
    for name in ["good", "mixed"] {
        assert!(id(&tls, &table, name).is_some());
    }
}
