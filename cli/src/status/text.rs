//! An installation's status for people.

use super::ask::Installation;
use crate::table;

const CONTROLLERS: [&str; 4] = ["CONTROLLER", "ROLE", "READY", "VERSION"];
const PODS: [&str; 8] = ["POD SET", "POD", "READY", "SERVES", "CURRENT", "LAG", "CONNECTIONS", "TUNNELS"];
const KEYS: [&str; 6] = ["POD SET", "KEYS", "PHASE", "FORM", "SINCE", "USED BY"];
const MEMBERS: [&str; 7] = ["POD SET", "SERVER ID", "POD", "STANDING", "HOLDS", "USES", "QUIC"];
const GATEWAYS: [&str; 6] = ["GATEWAY", "ADDRESSES", "LISTENERS", "ROUTES", "SERVICE", "PORTS"];

/// Octets of a table's digest that are shown: enough to tell two apart.
const DIGEST_SHOWN: usize = 8;

/// A table of each kind of thing, and then what is not as it should be.
pub(super) fn render(status: &Installation) -> String {
    let controllers = status.controllers.iter().map(|pod| {
        let role = if pod.leads { "leader" } else { "follower" };
        vec![pod.name.clone(), role.to_owned(), yes_or_no(pod.ready), pod.version.clone()]
    });
    let pods = status.pods.iter().map(|pod| {
        let serves = pod.serves.as_ref().map(|version| {
            let digest: String = version.digest.chars().take(DIGEST_SHOWN).collect();
            format!("{}.{} {digest}", version.epoch, version.generation)
        });
        vec![
            pod.pod_set.clone(),
            pod.name.clone(),
            yes_or_no(pod.ready),
            serves.unwrap_or_default(),
            yes_or_no(pod.is_current),
            pod.lag_seconds.map(|seconds| format!("{:.0}ms", seconds * 1000.0)).unwrap_or_default(),
            count(pod.connections),
            count(pod.tunnels),
        ]
    });
    let gateways = status.gateways.iter().map(|gateway| {
        let routes: u64 = gateway.listeners.iter().map(|listener| listener.attached_routes).sum();
        let service = gateway.service.as_ref();
        vec![
            format!("{}/{}", gateway.namespace, gateway.name),
            gateway.addresses.join(","),
            gateway.listeners.len().to_string(),
            routes.to_string(),
            service.map(|service| format!("{} ({})", service.name, service.r#type)).unwrap_or_default(),
            service.map(|service| service.ports.join(", ")).unwrap_or_default(),
        ]
    });
    let keys = status.quic.iter().flat_map(|(set, keys)| {
        keys.configurations.iter().map(move |one| {
            vec![
                set.clone(),
                format!("{} of revision {}", one.number, keys.revision),
                one.phase.clone(),
                one.form.clone(),
                one.since.to_string(),
                one.used_by.to_string(),
            ]
        })
    });
    let members = status.quic.iter().flat_map(|(set, keys)| {
        keys.pods.iter().map(move |pod| {
            vec![
                set.clone(),
                pod.server_id.clone(),
                pod.name.clone(),
                pod.standing.clone(),
                pod.holds.to_string(),
                pod.uses.iter().map(u8::to_string).collect::<Vec<_>>().join(","),
                pod.connections.map(|connections| connections.to_string()).unwrap_or_default(),
            ]
        })
    });
    let tables = [
        table::render(&CONTROLLERS, &controllers.collect::<Vec<_>>()),
        table::render(&PODS, &pods.collect::<Vec<_>>()),
        table::render(&KEYS, &keys.collect::<Vec<_>>()),
        table::render(&MEMBERS, &members.collect::<Vec<_>>()),
        table::render(&GATEWAYS, &gateways.collect::<Vec<_>>()),
    ];
    let mut text = tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n");
    if !status.troubles.is_empty() {
        text.push('\n');
        status.troubles.iter().for_each(|trouble| text.push_str(&format!("! {trouble}\n")));
    }
    text
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn count(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.0}")).unwrap_or_default()
}
