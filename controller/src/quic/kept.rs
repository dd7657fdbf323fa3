//! All that is kept of a pod set from one leader to the next, and how it is written into a Secret.
//!
//! Owns the format. It must not know when anything of it changes: that is [`super::plan`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use headrace_cid::{ConfigId, Form, NotARotation, Phase, Rotation, Standing};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::ring::{Named, Ring};

/// On the Secret, with any value that was not there before: rotate now.
pub(crate) const ROTATE: &str = "headrace.dev/rotate";

/// The key under which all of it stands, as JSON: one value, so that nobody reads half of a change.
const STATE: &str = "state.json";

/// Of the JSON. A controller that does not know the format must not take the keys for its own.
const FORMAT: u32 = 1;

/// What is kept of a pod set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    format: u32,
    /// Of the tables that say what follows. It grows with every change that tables show of configurations and secrets.
    pub(crate) revision: u64,
    /// By number. Those that are withdrawn have no key any more.
    pub(crate) configurations: BTreeMap<u8, Configuration>,
    pub(crate) hop: Ring,
    pub(crate) tokens: Ring,
    pub(crate) tickets: Ring,
    pub(crate) reset: Named,
    /// The id of the next secret.
    pub(crate) next_secret: u32,
    /// In front of the number in every server ID that is drawn here: 4 octets in hexadecimal.
    pub(crate) prefix: String,
    /// The number of the next server ID. It only grows, so that none is given twice.
    pub(crate) next_server: u32,
    /// How often a server ID was allotted that pods brought along, by the ID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) brought: BTreeMap<String, u32>,
    /// By UID.
    pub(crate) pods: BTreeMap<String, Allotted>,
    /// When the last rotation began.
    pub(crate) rotated: Timestamp,
    /// The value of [`ROTATE`] that was obeyed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) obeyed: Option<String>,
}

/// A configuration of connection IDs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    pub(crate) phase: PhaseName,
    /// The first revision whose tables say so.
    pub(crate) since: u64,
    pub(crate) is_clear: bool,
    /// 16 octets in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) key: String,
}

impl std::fmt::Debug for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Configuration({:?} since {})", self.phase, self.since)
    }
}

impl Configuration {
    pub(crate) fn form(&self) -> Form {
        if self.is_clear { Form::Clear } else { Form::Encrypted }
    }
}

/// A [`Phase`] by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PhaseName {
    Published,
    Encoding,
    Draining,
    Withdrawn,
}

impl From<PhaseName> for Phase {
    fn from(name: PhaseName) -> Self {
        match name {
            PhaseName::Published => Phase::Published,
            PhaseName::Encoding => Phase::Encoding,
            PhaseName::Draining => Phase::Draining,
            PhaseName::Withdrawn => Phase::Withdrawn,
        }
    }
}

impl From<Phase> for PhaseName {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Published => PhaseName::Published,
            Phase::Encoding => PhaseName::Encoding,
            Phase::Draining => PhaseName::Draining,
            Phase::Withdrawn => PhaseName::Withdrawn,
        }
    }
}

/// What a pod was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Allotted {
    /// The pod's name.
    pub(crate) name: String,
    /// In hexadecimal.
    pub(crate) server_id: String,
    /// Whether the pod brought it along.
    #[serde(default)]
    pub(crate) is_brought: bool,
    /// How often the server ID had been allotted before.
    #[serde(default)]
    pub(crate) allotment: u32,
    /// Where it takes packets of other pods, as it said last: known to a new leader before the pod has found that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hop_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    /// Whether it is to go.
    #[serde(default)]
    pub(crate) is_terminating: bool,
    /// Since when it is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone: Option<Timestamp>,
}

/// A Secret whose contents cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// Not JSON as it was written.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a controller of another version.
    #[error("it is of format {0}, which this version does not know")]
    Format(u32),
    /// Phases that no rotation comes to.
    #[error(transparent)]
    Rotation(#[from] NotARotation),
    /// A number that no configuration has.
    #[error("it has a configuration {0}")]
    Number(u8),
}

impl Kept {
    /// One without configurations and pods.
    pub(crate) fn new(prefix: String, mut secret: impl FnMut() -> String, now: Timestamp) -> Self {
        let mut named = |id| Named { id, octets: secret() };
        let [hop, tokens, tickets, reset] = [0, 1, 2, 3].map(&mut named);
        Kept {
            format: FORMAT,
            revision: 1,
            configurations: BTreeMap::new(),
            hop: Ring::new(hop),
            tokens: Ring::new(tokens),
            tickets: Ring::new(tickets),
            reset,
            next_secret: 4,
            prefix,
            next_server: 0,
            brought: BTreeMap::new(),
            pods: BTreeMap::new(),
            rotated: now,
            obeyed: None,
        }
    }

    /// The rotation as it stands.
    pub(crate) fn rotation(&self) -> Result<Rotation, Unusable> {
        let standings = self.configurations.iter().map(|(number, one)| {
            let id = ConfigId::try_from(*number).map_err(|_| Unusable::Number(*number))?;
            Ok((id, Standing { phase: one.phase.into(), since: one.since }))
        });
        Ok(Rotation::restore(self.revision, standings.collect::<Result<Vec<_>, Unusable>>()?)?)
    }

    /// What a Secret holds; `None` if it holds nothing yet.
    pub(crate) fn read(secret: &Secret) -> Result<Option<Self>, Unusable> {
        let Some(octets) = secret.data.as_ref().and_then(|data| data.get(STATE)) else { return Ok(None) };
        let format: FormatOnly = serde_json::from_slice(&octets.0)?;
        if format.format != FORMAT {
            return Err(Unusable::Format(format.format));
        }
        let kept: Kept = serde_json::from_slice(&octets.0)?;
        kept.rotation()?;
        Ok(Some(kept))
    }

    /// Writes it into a Secret. What others wrote there stays.
    pub(crate) fn write(&self, secret: &mut Secret) {
        let octets = serde_json::to_vec(self).expect("it holds no map whose keys are no texts");
        secret.data.get_or_insert_default().insert(STATE.to_owned(), ByteString(octets));
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Whether somebody asked for a rotation, and with which word.
pub(crate) fn asked(secret: &Secret) -> Option<&str> {
    secret.metadata.annotations.as_ref()?.get(ROTATE).map(String::as_str)
}

/// A Secret that is yet to be made.
pub(crate) fn new_secret(pod_set: &str) -> Secret {
    let labels = [
        ("app.kubernetes.io/name", "headrace"),
        ("app.kubernetes.io/managed-by", "headrace-controller"),
        ("headrace.dev/pod-set", pod_set),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Secret { metadata: ObjectMeta { labels: Some(labels.into()), ..ObjectMeta::default() }, ..Secret::default() }
}
